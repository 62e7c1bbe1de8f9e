"""Writes a page that shows what the compiler made of a model or a graph: its layers, what every pass changed, which
operations became one kernel and why others did not, the plan of memory, the kernels down to the processor's
instructions, and a profile. One HTML file that needs no network.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from graphcore.commands.arguments import SUBJECT_HELP, TYPICAL_EXTENT, check_options, load_subject, positive, size

HELP = "write a page that shows what became of a model or a graph"
EXAMPLES = """\
  graphcore report model.keras                       report.html: its training step if it is compiled, else a prediction
  graphcore report train.py:model -o step.html       of a model that a script makes
  graphcore report model.keras --kind predict --batch 1
  graphcore report layer.gcir --size batch=64        of a graph, with a value for one of its symbols
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The subject, the page, and at which size."""
    parser.add_argument("subject", help=SUBJECT_HELP)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page (default: %(default)s)"
    )
    parser.add_argument("--kind", choices=("train", "test", "predict"), help="which step of a model")
    parser.add_argument("--batch", type=positive, help=f"samples in a model's batch (default: {TYPICAL_EXTENT})")
    parser.add_argument(
        "--size", type=size, action="append", default=[], metavar="SYMBOL=VALUE",
        help=f"a size of a graph (default: {TYPICAL_EXTENT}); may be repeated",
    )  # fmt: skip
    parser.add_argument("--no-measure", action="store_true", help="do not run it: leave out times and the roofline")


def run(options: Namespace) -> int:
    """Write the page."""
    from compiler.inspect import report
    from compiler.ir import Graph
    from graphcore.report import model_report

    subject = load_subject(options.subject)
    check_options(options, subject, ("kind", "batch"))
    measure = not options.no_measure
    if isinstance(subject, Graph):
        page = report(subject, options.output, sizes=dict(options.size), measure=measure)
    else:
        kind = options.kind or ("train" if subject.compiled else "predict")
        page = model_report(subject, options.output, kind, None, None, options.batch or TYPICAL_EXTENT, measure)
    print(f"{options.output}: {len(page.encode()) / 1e6:.2f} MB")
    return 0
