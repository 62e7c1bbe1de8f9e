"""A table of a model's layers with their output shapes and numbers of parameters, or of a graph's operations. With
--plot the layers are drawn as boxes and arrows.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from graphcore.commands.arguments import SUBJECT_HELP, check_options, load_subject

if TYPE_CHECKING:
    from compiler.ir import Graph
    from graphcore.models import Model

HELP = "list the layers of a model, or draw them"
EXAMPLES = """\
  graphcore summary model.keras                      layers, shapes, parameters
  graphcore summary train.py:model --expand-nested   with the layers of models in the model
  graphcore summary model.keras --plot model.svg     drawn; .png and .dot are possible too
  graphcore summary layer.gcir                       the operations of a graph
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The subject, what to show of it, and where to draw it."""
    parser.add_argument("subject", help=SUBJECT_HELP)
    parser.add_argument("--expand-nested", action="store_true", help="show the layers of models in the model")
    parser.add_argument("--show-trainable", action="store_true", help="say which layers are trained")
    parser.add_argument("--plot", metavar="FILE", help="draw the layers into a file .svg, .png or .dot")


def run(options: Namespace) -> int:
    """Print the table, or draw."""
    from compiler.ir import Graph

    subject = load_subject(options.subject)
    check_options(options, subject, ("expand_nested", "show_trainable"), ())
    if isinstance(subject, Graph):
        _show_graph(subject, options.plot)
    elif options.plot:
        _plot(subject, options)
    else:
        subject.summary(expand_nested=options.expand_nested, show_trainable=options.show_trainable)
    return 0


def _show_graph(graph: Graph, plot: str | None) -> None:
    if plot:
        raise ValueError("only layers of a model are drawn; for a graph: graphcore ir FILE --dot")
    from rich.console import Console

    from compiler.inspect.graph_stage import GraphStage
    from compiler.inspect.operations import contraction_flops, element_operations

    console = Console()
    console.print(GraphStage("graph", graph))
    counts = contraction_flops(graph), element_operations(graph)
    console.print(f"FLOPs of contractions: {counts[0]}; operations on single elements: {counts[1]}", markup=False)


def _plot(model: Model, options: Namespace) -> None:
    from graphcore.utils import plot_model

    plot_model(
        model, options.plot, show_shapes=True, show_layer_names=True, expand_nested=options.expand_nested,
        show_trainable=options.show_trainable,
    )  # fmt: skip
    print(f"written: {options.plot}")
