"""Where the time of a model's step goes: runs it on random data of its input shapes and lists kernels and layers with
their times, arithmetic, memory traffic and share of the machine's roof. The model's variables stay as they were.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from graphcore.commands.arguments import SUBJECT_HELP, TYPICAL_EXTENT, check_options, load_subject, positive, size

if TYPE_CHECKING:
    from graphcore.profiling import Recording

HELP = "show where the time of a model's step goes"
EXAMPLES = """\
  graphcore profile model.keras                      a prediction for 32 samples
  graphcore profile model.keras --batch 1            for one sample
  graphcore profile train.py:model --kind train      a training step, if the script compiles the model
  graphcore profile train.py:model --kind train --loss mse       if it does not
  graphcore profile layer.gcir --size batch=64       a graph, with a value for each of its symbols
  graphcore profile model.keras --trace trace.json   every call, to be opened at ui.perfetto.dev
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The subject, what to run, how often, and where to put the result."""
    parser.add_argument("subject", help=SUBJECT_HELP)
    parser.add_argument("--kind", choices=("train", "test", "predict"), help="which step of a model (default: predict)")
    parser.add_argument("--batch", type=positive, help=f"samples in a model's batch (default: {TYPICAL_EXTENT})")
    parser.add_argument("--length", type=positive, help=f"a model's other open sizes (default: {TYPICAL_EXTENT})")
    parser.add_argument(
        "--size", type=size, action="append", default=[], metavar="SYMBOL=VALUE",
        help=f"a size of a graph (default: {TYPICAL_EXTENT}); may be repeated",
    )  # fmt: skip
    parser.add_argument("--runs", type=positive, default=30, help="runs that count (default: %(default)s)")
    parser.add_argument("--threads", type=positive, help="threads to run on (default: all cores)")
    parser.add_argument("--loss", help="compile a model with this loss first")
    parser.add_argument("--optimizer", help="and this optimizer (default: sgd)")
    parser.add_argument("--seed", type=int, default=0, help="of the random data (default: %(default)s)")
    parser.add_argument("--rows", type=positive, default=20, help="kernels to list (default: %(default)s)")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write every call as a trace for Perfetto or Chrome")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")


def run(options: Namespace) -> int:
    """Profile it, show the tables, write the files."""
    import json

    from runtime import set_num_threads

    if options.threads:
        set_num_threads(options.threads)
    recording = _recording(options)
    recording.show(options.rows)
    if options.trace:
        recording.save_trace(options.trace)
    if options.json:
        options.json.write_text(json.dumps(recording.to_dict(), indent=1), encoding="utf-8")
    return 0


def _recording(options: Namespace) -> Recording:
    import numpy as np

    from compiler.ir import Graph
    from graphcore.random_data import profile_graph, random_inputs, random_targets

    subject = load_subject(options.subject)
    rng = np.random.default_rng(options.seed)
    check_options(options, subject, ("kind", "batch", "length", "loss", "optimizer"))
    if isinstance(subject, Graph):
        return profile_graph(subject, dict(options.size), options.runs, rng)
    if options.optimizer and not options.loss:
        raise ValueError("--optimizer belongs to --loss: without it the model keeps its own")
    if options.loss:
        subject.compile(optimizer=options.optimizer or "sgd", loss=options.loss)
    kind = options.kind or "predict"
    x = random_inputs(subject, options.batch or TYPICAL_EXTENT, options.length or TYPICAL_EXTENT, rng)
    y = None if kind == "predict" else random_targets(subject, x, rng)
    return subject.profile(x, y, runs=options.runs, kind=kind)
