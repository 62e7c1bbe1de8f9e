"""`python -m compiler.ops`: a table of all ops, by fusion kind."""

from __future__ import annotations

import dataclasses

from compiler import ops
from compiler.ops.registry import OPS


def table() -> str:
    """One line an op: name, fusion kind, attributes, module, first line of its description."""
    rows = []
    for name, cls in sorted(OPS.items(), key=lambda item: (item[1].fusion.value, item[0])):
        attributes = ", ".join(field.name for field in dataclasses.fields(cls))
        about = (cls.__doc__ or "").strip().splitlines()[0]
        rows.append((name, cls.fusion.value, attributes, cls.__module__.rpartition(".")[2], about))
    header = ("op", "fusion", "attributes", "module", "what it computes")
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(4)]
    lines = []
    for row in [header, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[4]]).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
    print(f"\n{len(OPS)} ops in {len(ops.__all__)} modules")
