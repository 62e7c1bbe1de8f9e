"""graphcore and its peers in turn, in one run.

    python -m benchmarks.peers --python .venv-peers/bin/python [--models mlp] [--frameworks graphcore torch]
                               [--measures train] [--rounds 6] [--seconds 0.5]

Every framework lives in a process of its own, which is stopped while another has its turn. Training steps: Adam,
cross-entropy (or mean squared error) and, in graphcore and Keras, the accuracy; data in memory; the loss is read after
each step. graphcore trains through `train_on_batch` and predicts through `predict_on_batch`; `graphcore-fit` is the
same through `fit`. Keras runs the loops of its guides (jitted stateless step; `tf.function`), PyTorch its plain loop
with channels-last images and fused Adam, eager or with `torch.compile`; ONNX Runtime does inference of the PyTorch
models. Kernels run on one thread: XLA stands for Keras on JAX there, and oneDNN does PyTorch's convolutions. Prints
tables with medians, minima and the ratio best peer / graphcore, and writes them as Markdown and JSON.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.engines import ENGINES
from benchmarks.machine import describe, usable_cores
from benchmarks.measures import Session, add_options
from benchmarks.report import machine_text, publish, to_markdown
from benchmarks.results import to_json
from benchmarks.turns import Contestant

DEFAULT_MEASURES = ("train", "train-large", "inference", "latency", "start", "kernels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="the interpreter that has the peers")
    parser.add_argument("--frameworks", nargs="+", choices=ENGINES, default=list(ENGINES), metavar="FRAMEWORK",
                        help=f"of {', '.join(ENGINES)}")  # fmt: skip
    parser.add_argument("--threads", type=int, default=usable_cores(), help="for models (default: %(default)s)")
    add_options(parser, DEFAULT_MEASURES)
    options = parser.parse_args()
    # Not resolved: the link in a virtual environment is what makes its interpreter its own.
    peers = str(Path(options.python).absolute())

    def contestants(kind: str, threads: int) -> dict[str, Contestant]:
        chosen = [name for name in options.frameworks if kind in ENGINES[name].kinds]
        return {name: Contestant(name, threads, peers if ENGINES[name].peer else sys.executable) for name in chosen}

    machine = describe()
    models = contestants("train", options.threads) | contestants("infer", options.threads)
    session = Session(options, models, contestants("kernel", 1))
    rows = session.rows()
    text = f"{machine_text(machine, session.versions)}\n\n{to_markdown(rows)}"
    document = to_json(rows, machine, session.versions, {"command": sys.argv[1:], "threads": options.threads})
    publish(options.results, "peers", text, document)


if __name__ == "__main__":
    main()
