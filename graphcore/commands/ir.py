"""What the compiler makes of a model's step or of a graph, at any stage: the graph as traced, the graph after all
passes, the kernels with their source, LLVM IR and assembly, the plan of memory, and the program of instructions.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphcore.commands.arguments import SUBJECT_HELP, check_options, load_subject, size
from graphcore.commands.highlighting import show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from compiler.inspect.graph_stage import GraphStage
    from compiler.inspect.stages import Stages

HELP = "show a stage of what the compiler makes of a model or graph"
EXAMPLES = """\
  graphcore ir model.keras                                   the optimized training step (never compiled: predict)
  graphcore ir model.keras --kind predict --stage traced     the prediction as traced
  graphcore ir train.py:model --stage kernels                a table of the kernels
  graphcore ir train.py:model --kernel 3 --assembly          one of them, as the processor runs it
  graphcore ir model.keras --stage memory --size batch=64    where everything lies for a batch of 64
  graphcore ir layer.gcir --dot | dot -Tsvg > layer.svg      drawn by Graphviz
  graphcore ir layer.gcir --model-explorer -o layer.json     for Model Explorer
  graphcore ir model.keras --json -o step.json               plain data of the stage
"""
GRAPH_STAGES = ("traced", "optimized")
STAGES = (*GRAPH_STAGES, "kernels", "memory", "program")  # as `compiler.inspect.stages` has them, without its import


def add_arguments(parser: ArgumentParser) -> None:
    """The subject, the stage, and the form in which it is shown."""
    parser.add_argument("subject", help=SUBJECT_HELP)
    parser.add_argument("--stage", choices=STAGES, help="default: optimized; kernels with --kernel")
    parser.add_argument(
        "--kind", choices=("train", "test", "predict"),
        help="which step of a model (default: train if it is compiled, else predict)",
    )  # fmt: skip
    parser.add_argument("--generic", action="store_true", help="print every attribute and op by its name")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--table", action="store_true", help="a table (kernels and memory: always)")
    forms.add_argument("--json", action="store_true", help="plain data")
    forms.add_argument("--dot", action="store_true", help="the graph in the DOT language")
    forms.add_argument("--model-explorer", action="store_true", help="the graph as JSON for Model Explorer")
    forms.add_argument("--llvm", action="store_true", help="with --kernel: LLVM's IR after its passes")
    forms.add_argument("--assembly", action="store_true", help="with --kernel: the processor's instructions")
    parser.add_argument("--kernel", type=int, metavar="NUMBER", help="one kernel; its source if nothing else is said")
    parser.add_argument(
        "--size", type=size, action="append", default=[], metavar="SYMBOL=VALUE",
        help="a size, for the plan of memory; may be repeated",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file")


def run(options: Namespace) -> int:
    """Show the stage."""
    _check(options)
    stages = _stages(options)
    shown = _kernel_text(stages, options) if options.kernel is not None else _shown(stages, options)
    if isinstance(shown, str):
        is_graph = options.stage in GRAPH_STAGES and not (options.json or options.dot or options.model_explorer)
        _write(shown, options.output, coloured=is_graph)
        return 0
    from rich.console import Console

    if options.output is None:
        console = Console()
        (console if console.is_terminal else Console(width=160)).print(shown)
        return 0
    with options.output.open("w", encoding="utf-8") as stream:
        Console(width=160, file=stream).print(shown)
    return 0


def _check(options: Namespace) -> None:
    if options.stage is None:
        options.stage = "optimized" if options.kernel is None else "kernels"
    if options.kernel is not None and options.stage != "kernels":
        raise ValueError(f"--kernel belongs to the stage kernels, not to {options.stage}")
    if options.size and options.stage != "memory":
        raise ValueError(f"--size belongs to the stage memory, not to {options.stage}")
    if (options.llvm or options.assembly) and options.kernel is None:
        raise ValueError("--llvm and --assembly need the number of a kernel: --kernel NUMBER")
    if (options.dot or options.model_explorer) and options.stage not in GRAPH_STAGES:
        raise ValueError(f"only graphs are exported so: --stage {' or '.join(GRAPH_STAGES)}, not {options.stage}")


def _stages(options: Namespace) -> Stages:
    from compiler.inspect.stages import stages
    from compiler.ir import Graph

    subject = load_subject(options.subject)
    check_options(options, subject, ("kind",), ())
    if not isinstance(subject, Graph):
        return subject.lower(options.kind or ("train" if subject.compiled else "predict"))
    return stages(subject)


def _shown(stages: Stages, options: Namespace) -> str | RenderableType:
    """The stage in the form that is asked for: a text, or something that `rich` prints."""
    stage: Any = stages[options.stage]
    sizes = dict(options.size)
    if options.json:
        data = stage.to_dict(sizes) if options.stage == "memory" else stage.to_dict()
        return json.dumps(data, indent=1) + "\n"
    if options.stage in GRAPH_STAGES and not options.table:
        return _graph_text(stage, options)
    if options.stage == "program" and not options.table:
        return f"{stage}\n"
    table: RenderableType = stage.table(sizes) if options.stage == "memory" else stage.table()
    return table


def _graph_text(stage: GraphStage, options: Namespace) -> str:
    if options.dot:
        return stage.to_dot()
    return stage.to_model_explorer() if options.model_explorer else stage.text(pretty=not options.generic)


def _kernel_text(stages: Stages, options: Namespace) -> str:
    kernels = stages.kernels
    if not 0 <= options.kernel < len(kernels):
        raise ValueError(f"there is no kernel {options.kernel}; they are numbered from 0 to {len(kernels) - 1}")
    kernel = kernels[options.kernel]
    if options.json:
        return json.dumps(kernel.to_dict(), indent=1) + "\n"
    if options.llvm:
        return kernel.llvm
    if options.assembly:
        return kernel.assembly
    choices = "".join(f"# {name}: {choice}\n" for name, choice in kernel.choices.items())
    return f"# {kernel!r}\n{choices}{kernel.source}"


def _write(text: str, output: Path | None, *, coloured: bool) -> None:
    text = text if text.endswith("\n") else text + "\n"
    if output is not None:
        output.write_text(text, encoding="utf-8")
    elif coloured:
        show(text)
    else:
        print(text, end="")
