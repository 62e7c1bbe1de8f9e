"""The kernels of a program: their text, LLVM IR and assembly, the choices made for them, and what their calls cost."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compiler.grouping import Plan, is_cloned
from compiler.inspect.calls import KernelCall, kernel_calls
from compiler.inspect.graph_stage import dim_data
from compiler.inspect.operations import core_of, ops_in
from compiler.inspect.sheet import Sheet
from compiler.inspect.stage import Stage
from compiler.ir import Graph, Node
from runtime.dimensions import Dim

if TYPE_CHECKING:
    from compiler.codegen.kernels import CpuKernel
    from compiler.codegen.objects import KernelTexts
    from compiler.driver import Compiled
    from runtime.program import Kernel

__all__ = ["KernelInfo", "KernelsStage"]


class KernelInfo:
    """One kernel of a program and the calls that share it.

    Attributes:
        index: its number in the program.
        name: the label of the first instruction that needed it.
        key: names its object code by everything that decides the bytes.
        symbol: the function's name in the object code.
        source: its text in the language of kernels; a contraction's or attention's begins with its native driver.
        object_code: what runs, an object file of the target's format.
        calls: the instructions that call it.
    """

    def __init__(self, compiled: Compiled, index: int, calls: Sequence[KernelCall]) -> None:
        kernel: Kernel = compiled.program.kernels[index]
        self.index = index
        self.name = kernel.name
        self.key = kernel.key
        self.symbol = kernel.symbol
        self.source = kernel.source
        self.object_code = kernel.object_code
        self.calls = tuple(calls)
        self._target = compiled.target

    def __repr__(self) -> str:
        positions = ", ".join(str(call.position) for call in self.calls)
        return f"<Kernel {self.index} {self.name!r}: {self.kind}, called by instructions {positions}>"

    @functools.cached_property
    def printed(self) -> CpuKernel:
        """The kernel printed again from the graph, with what its text's names stand for. Imports Numba."""
        from compiler.codegen.kernels import cpu_kernel

        return cpu_kernel(self.calls[0].body, self._target, self.calls[0].shared)

    @functools.cached_property
    def _texts(self) -> KernelTexts:
        from compiler.codegen.objects import kernel_texts

        return kernel_texts(self.source, self.printed.namespace)

    @property
    def llvm(self) -> str:
        """LLVM's IR after its passes, as text: the kernel is compiled again, with the same text and options."""
        return self._texts.llvm

    @property
    def assembly(self) -> str:
        """The processor's instructions as text, those of `object_code`: the kernel is compiled again, as for `llvm`."""
        return self._texts.assembly

    @functools.cached_property
    def _plan(self) -> Plan:
        from compiler.lower import plan_of

        return plan_of(self.calls[0].body)

    @property
    def kind(self) -> str:
        """"contraction", "map", "row", "column", "whole" or "generated"; see `compiler.grouping`."""
        return self._plan.kind

    @functools.cached_property
    def prologue(self) -> tuple[str, ...]:
        """Ops that make the contraction's operands in passing; empty for other kernels."""
        body = self.calls[0].body
        core = core_of(body)
        return () if core is None else ops_in(_before(body, core))

    @functools.cached_property
    def epilogue(self) -> tuple[str, ...]:
        """Ops that follow on each finished element of the contraction, or image; empty for other kernels."""
        body = self.calls[0].body
        core = core_of(body)
        if core is None:
            return ()
        others = _before(body, core)
        return ops_in([node for node in body.nodes if node is not core and node not in others and not is_cloned(node)])

    @functools.cached_property
    def choices(self) -> dict[str, str]:
        """What the compiler chose for this kernel, in words; sizes are those of its first call. Imports Numba."""
        from compiler.tiles import tile_of

        printed, body, plan = self.printed, self.calls[0].body, self._plan
        found = {"loops": plan.kind, "over": _extents(plan.shape)}
        if plan.axes:
            found["reduced axes"] = _extents(plan.axes)
        if blocks := tile_of(body):
            found["blocks"] = _extents(blocks)
        core = core_of(body)
        if core is not None:
            found["core"] = core.op.name
        if (spec := printed.spec) is not None:
            forms = ("transpose_a", "transpose_b", "narrow", "packed", "direct")
            found["generator"] = spec.kind
            found["form"] = ", ".join(form for form in forms if getattr(spec, form)) or "plain"
        if (tile := printed.tile) is not None:
            found["tile"] = (
                f"{tile.rows} rows x {tile.columns} columns of {tile.dtype}, "
                f"{tile.vectors} vectors of {tile.lanes} lanes"
            )
        if core is not None:
            found["prologue"] = ", ".join(self.prologue) or "none"
            found["epilogue"] = ", ".join(self.epilogue) or "none"
        return found

    def to_dict(self, *, source: bool = True) -> dict[str, Any]:
        """Plain data, without LLVM IR and assembly, which cost a compilation; `source`: with the text."""
        data: dict[str, Any] = {
            "index": self.index,
            "name": self.name,
            "key": self.key,
            "symbol": self.symbol,
            "kind": self.kind,
            "choices": self.choices,
            "object_bytes": len(self.object_code),
            "calls": [call_data(call) for call in self.calls],
        }
        return data | {"source": self.source} if source else data


class KernelsStage(Stage):
    """The kernels of a program, in its order."""

    name = "kernels"

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled

    @functools.cached_property
    def calls(self) -> tuple[KernelCall, ...]:
        """The program's instructions in order; see `KernelCall`."""
        return kernel_calls(self.compiled)

    @functools.cached_property
    def kernels(self) -> tuple[KernelInfo, ...]:
        """The kernels in the program's order, each with its calls."""
        calls: dict[int, list[KernelCall]] = {}
        for call in self.calls:
            calls.setdefault(call.instruction.kernel, []).append(call)
        return tuple(KernelInfo(self.compiled, index, calls[index]) for index in sorted(calls))

    def __len__(self) -> int:
        return len(self.kernels)

    def __getitem__(self, index: int) -> KernelInfo:
        return self.kernels[index]

    def __repr__(self) -> str:
        program = self.compiled.program
        return f"<kernels: {len(program.kernels)} kernels for {len(program.instructions)} instructions>"

    def to_dict(self) -> dict[str, Any]:
        """See `Stage.to_dict` and `KernelInfo.to_dict`."""
        return {"stage": self.name, "kernels": [kernel.to_dict() for kernel in self.kernels]}

    def sheet(self) -> Sheet:
        """A row for each kernel; FLOPs and bytes of one call, that of the first instruction."""
        rows = []
        for kernel in self.kernels:
            call = kernel.calls[0]
            read, written = call.least_bytes
            work = call.flops if call.flops != 0 else call.element_operations
            epilogue = ", ".join(kernel.epilogue)
            rows.append((
                str(kernel.index), kernel.name, kernel.kind, ", ".join(str(call.position) for call in kernel.calls),
                epilogue, str(call.instruction.work), str(work), str(read + written), str(len(kernel.object_code)),
            ))  # fmt: skip
        columns = ("#", "Kernel", "Kind", "Instructions", "Epilogue", "Items", "Operations", "Bytes", "Code")
        notes = ("Operations: FLOPs of the contraction, or one for each element. Bytes: least traffic of one call.",)
        title = f"kernels: {len(rows)} for {len(self.calls)} instructions"
        return Sheet(title, columns, tuple(rows), frozenset(("#", "Code")), notes)


def call_data(call: KernelCall) -> dict[str, Any]:
    """A call as plain data."""
    read, written = call.least_bytes
    return {
        "position": call.position,
        "label": call.label,
        "layer": call.layer,
        "source": call.node.source,
        "ops": list(call.ops),
        "kernel": call.instruction.kernel,
        "work": dim_data(call.instruction.work),
        "scratch": dim_data(call.instruction.scratch),
        "repeats": dim_data(call.repeats),
        "prepared": call.prepared,
        "flops": dim_data(call.flops),
        "element_operations": dim_data(call.element_operations),
        "bytes_read": dim_data(read),
        "bytes_written": dim_data(written),
    }


def _extents(dims: Sequence[Dim]) -> str:
    return f"[{', '.join(map(str, dims))}]"


def _before(body: Graph, core: Node) -> list[Node]:
    """The nodes that the core's operands need, in order."""
    needed = {value.node for value in core.inputs}
    for node in reversed(body.nodes):
        if node in needed:
            needed |= {value.node for value in node.inputs}
    return [node for node in body.nodes if node in needed]
