"""A profile as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from compiler.inspect.kernel_times import KernelTime, LayerTime, ProgramTimes
from compiler.roof import Roof

if TYPE_CHECKING:
    from graphcore.profiling import Recording

__all__ = ["console", "tables", "text_of"]

_WIDTH = 140  # where there is no terminal that has one


def console() -> Console:
    """Of the terminal's width, or wide where there is none."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH)


def text_of(group: Group) -> str:
    """Without colours."""
    plain = Console(width=_WIDTH, color_system=None, force_terminal=False)
    with plain.capture() as capture:
        plain.print(group)
    return capture.get()


def tables(recording: Recording, most: int) -> Group:
    """Programs, kernels, layers, and what the shares are of."""
    kernels = recording.kernels
    parts = ", ".join(f"{name} {share:.1%}" for name, share in recording.shares.items())
    return Group(
        f"{recording.wall / 1e6:.2f} ms: {parts}",
        _programs(recording.programs),
        _kernels(kernels[:most], recording.wall, len(kernels)),
        _layers(recording.layers[:most], recording.wall),
        *(_roof_line(roof) for roof in recording.roofs),
        "Share of roof: the least time that arithmetic and memory allow, over the median time. Above 100 % operands "
        "came from caches, or Winograd's form needed fewer products.",
    )


def _table(title: str, *columns: str, texts: int) -> Table:
    """The first `texts` columns hold words, the others numbers."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        is_text = number < texts
        table.add_column(column, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    return table


def _programs(programs: tuple[ProgramTimes, ...]) -> Table:
    columns = ("Program", "Sizes", "Threads", "Runs", "Median ms", "Kernels", "Waiting", "Between")
    table = _table("Programs", *columns, texts=2)
    for each in programs:
        sizes = ", ".join(f"{name}={value}" for name, value in each.values.items())
        in_kernels = sum(kernel.total for kernel in each.kernels)
        shares = (f"{part / each.total:.1%}" for part in (in_kernels, each.waiting, each.between))
        numbers = (str(each.threads), str(each.runs), f"{each.median / 1e6:.3f}")
        table.add_row(escape(each.name), escape(sizes), *numbers, *shares)
    return table


def _kernels(kernels: tuple[KernelTime, ...], wall: float, count: int) -> Table:
    title = "Kernels" if count == len(kernels) else f"Kernels ({len(kernels)} of {count})"
    columns = ("Layer and operations", "Median us", "Runs", "Share", "GFLOP/s", "GB/s", "Of roof")
    table = _table(title, *columns, texts=1)
    for kernel in kernels:
        table.add_row(
            escape(kernel.label), f"{kernel.median / 1e3:.1f}", str(kernel.runs), f"{kernel.total / wall:.1%}",
            f"{kernel.gflops:.1f}" if kernel.flops else "", f"{kernel.gbytes:.1f}", f"{kernel.roof:.0%}",
        )  # fmt: skip
    return table


def _layers(layers: tuple[LayerTime, ...], wall: float) -> Table:
    table = _table("Layers", "Layer", "Kernels", "Total ms", "Share", "GFLOP/s", texts=1)
    for layer in layers:
        rate = f"{layer.flops / layer.total:.1f}" if layer.flops else ""
        share = f"{layer.total / wall:.1%}"
        name = escape(layer.layer) or "(no layer)"
        table.add_row(name, str(layer.kernels), f"{layer.total / 1e6:.3f}", share, rate)
    return table


def _roof_line(roof: Roof) -> str:
    threads = f"{roof.threads} thread{'s' if roof.threads > 1 else ''}"
    return f"Roof of {threads}: {roof.flops / 1e9:.0f} GFLOP/s in float32, {roof.bandwidth / 1e9:.1f} GB/s"
