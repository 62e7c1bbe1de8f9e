"""The plan of memory: which blocks there are, what lies in them and when, and how close the plan is to the least."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compiler.assembly import label_of
from compiler.inspect.graph_stage import dim_data, type_data
from compiler.inspect.sheet import Sheet, renderable_of
from compiler.inspect.stage import Stage
from compiler.instruments.made_up import program_sizes
from runtime.dimensions import evaluate

if TYPE_CHECKING:
    from rich.console import RenderableType

    from compiler.driver import Compiled
    from compiler.passes.plan_memory import MemoryPlan, Slot
    from runtime.placement import Placement

__all__ = ["MemoryStage"]


class MemoryStage(Stage):
    """The arena of a program: blocks that share its bytes when their lives do not meet."""

    name = "memory"

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled

    @functools.cached_property
    def plan(self) -> MemoryPlan:
        """The plan, with the lives of the blocks as the program's instructions give them."""
        return self.compiled.memory

    @property
    def typical(self) -> dict[str, int]:
        """The symbols at the extents that are taken for typical where none are given, or at the only ones they have."""
        return self._sizes(None)

    def at(self, sizes: Mapping[str, int] | None = None) -> Placement:
        """Where the blocks lie when the symbols have these sizes (None: the typical ones)."""
        return self.plan.at(self._sizes(sizes))

    def _sizes(self, sizes: Mapping[str, int] | None) -> dict[str, int]:
        return program_sizes(self.compiled.program, sizes)

    def __repr__(self) -> str:
        found = self.at()
        sizes = ", ".join(f"{name}={size}" for name, size in self.typical.items()) or "any sizes"
        return (
            f"<memory: {len(self.plan.sizes)} blocks, {found.size} bytes at {sizes}, "
            f"{found.ratio:.2f} times the least>"
        )

    def to_dict(self, sizes: Mapping[str, int] | None = None) -> dict[str, Any]:
        """See `Stage.to_dict`; offsets and bytes are those for `sizes` (None: the typical ones)."""
        given, found = self._sizes(sizes), self.at(sizes)
        values: dict[int, list[dict[str, Any]]] = {}
        for slot in self.plan.slots:
            values.setdefault(slot.block, []).append(_slot_data(slot))
        blocks = [
            {
                "block": block,
                "bytes": evaluate(size, given),
                "size": dim_data(size),
                "offset": offset,
                "first": life.first,
                "last": life.last,
                "kept": life.kept,
                "values": values.get(block, []),
            }
            for block, (size, life, offset) in enumerate(
                zip(self.plan.sizes, self.plan.lives, found.offsets, strict=True)
            )
        ]
        labels = [instruction.label for instruction in self.compiled.program.instructions]
        return {
            "stage": self.name,
            "sizes": given,
            "bytes": found.size,
            "bound": found.bound,
            "prepared_bytes": self.plan.prepared_bytes,
            "instructions": labels,
            "blocks": blocks,
            "direct": [
                {"type": type_data(value.type), "goes_to": where} for value, where in self.plan.direct.items()
            ],
        }

    def table(self, sizes: Mapping[str, int] | None = None) -> RenderableType:
        """The table for `rich`, for these sizes (None: the typical ones)."""
        return renderable_of(self.sheet(sizes))

    def sheet(self, sizes: Mapping[str, int] | None = None) -> Sheet:
        """A row for each block, for these sizes (None: the typical ones)."""
        data = self.to_dict(sizes)
        rows = []
        for block in data["blocks"]:
            names = dict.fromkeys(value["label"] for value in block["values"])
            life = "kept" if block["kept"] else f"{block['first']} to {block['last']}"
            rows.append((
                str(block["block"]), f"{block['offset']:,}", f"{block['bytes']:,}", str(block["size"]), life,
                "; ".join(names),
            ))  # fmt: skip
        given = ", ".join(f"{name} = {size}" for name, size in data["sizes"].items())
        title = f"memory: {data['bytes']:,} bytes" + (f" at {given}" if given else "")
        least = data["bytes"] / data["bound"] if data["bound"] else 1.0
        notes = (f"Alive at once: {data['bound']:,} bytes; the plan takes {least:.3f} times that.",)
        columns = ("Block", "Offset", "Bytes", "Size", "Alive in", "Made by")
        return Sheet(title, columns, tuple(rows), frozenset(("Block", "Offset", "Bytes")), notes)


def _slot_data(slot: Slot) -> dict[str, Any]:
    node = slot.value.node
    return {
        "type": type_data(slot.value.type),
        "label": "" if node is None else label_of(node),
        "layer": "" if node is None else node.layer,
        "first": slot.first,
        "last": slot.last,
        "in_place": slot.reuses is not None,
    }
