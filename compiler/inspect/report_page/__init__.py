"""The report page: one HTML file that shows what the compiler made of a graph, and what that costs.

    from compiler.inspect import report
    report(graph, "report.html", sizes={"batch": 32})

It opens without a network, in light and dark, and is text and tables where scripts are off. Aimed at: below 3 MB and
open within a second for a training step of ResNet-50.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.inspect.report_page.subject import Subject
    from compiler.ir import Graph

__all__ = ["report", "write_report"]


def report(
    graph: Graph,
    path: str | Path | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    measure: bool = True,
    winograd: bool = True,
) -> str:
    """Compile a graph and show it; returns the page, which is written to `path` if there is one.

    Args:
        graph: any graph; it is measured on made-up arrays; see `compiler.instruments.made_up`.
        path: where the page goes; None for nowhere.
        sizes: values of the graph's symbols, by default those that the compiler takes for typical.
        measure: whether to run the program a few times, for the times in the page.
        winograd: see `compiler.driver.compile_graph`.

    Raises:
        ValueError: for a size of a symbol that the graph does not have.
        KernelCompileError: if the graph cannot be compiled.
    """
    from compiler.driver import compile_graph
    from compiler.inspect.report_page.subject import Subject, measured
    from compiler.instruments.made_up import DATA_NOTE, program_sizes

    compiled = compile_graph(graph, winograd=winograd)
    values = program_sizes(compiled.program, sizes)
    profile = measured(compiled, values) if measure else None
    return write_report(Subject(graph.name, "graph", compiled, values, (), profile, DATA_NOTE), path)


def write_report(subject: Subject, path: str | Path | None = None) -> str:
    """The page of a subject, written to `path` if there is one."""
    from compiler.inspect.report_page.page import page_of

    page = page_of(subject)
    if path is not None:
        Path(path).write_text(page, encoding="utf-8")
    return page
