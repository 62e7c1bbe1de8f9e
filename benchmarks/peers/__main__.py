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

What is measured of sequences beside steps of the models "lstm", "bigru", "transformer" and "causal":

  generation  tokens a second of two small GPTs (four blocks, 128 and 256 wide) at batch 1: a prompt of 16 tokens, then
              256, always the likeliest. All engines have the same weights, and must give the tokens of a NumPy
              reference. graphcore's `generate` and PyTorch keep keys and values in a cache, eager through
              scaled_dot_product_attention; Keras has none and takes the model over the whole window for each token, in
              one jitted loop; `jax-cache` is the same model as a JAX function with a cache, one jitted loop too.
  masked      a training step of the LSTM over 200 steps of which 0 to 200 are not masked, and the straight line
              through the times. PyTorch packs the sequences.
  attention   causal, 8192 steps, forward and backward: resident memory beyond what was there before, beside the size
              of the matrix of scores.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.engines import ENGINES
from benchmarks.machine import describe, usable_cores
from benchmarks.measures import Session, add_options, further_figures, further_tables
from benchmarks.report import machine_text, publish, to_markdown
from benchmarks.results import to_json
from benchmarks.turns import Contestant

DEFAULT_MEASURES = (
    "train", "train-large", "inference", "latency", "start", "generation", "masked", "attention", "kernels"
)  # fmt: skip


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
    kinds = ("train", "infer", "generate")
    models = {name: one for kind in kinds for name, one in contestants(kind, options.threads).items()}
    session = Session(options, models, contestants("kernel", 1))
    rows = session.rows()
    text = "\n\n".join([machine_text(machine, session.versions), to_markdown(rows), *further_tables(rows)])
    document = to_json(rows, machine, session.versions, {"command": sys.argv[1:], "threads": options.threads})
    document |= further_figures(rows)
    publish(options.results, "peers", text, document)


if __name__ == "__main__":
    main()
