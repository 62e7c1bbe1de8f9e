"""Trains a convolutional network on 4000 handwritten digits, then prints the optimized graph of the training step, its
kernels with their times, and its memory plan. The exit code is 1 if it recognises too few of 1000 other digits.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from graphcore.commands.arguments import positive

HELP = "train a network on handwritten digits and show what was compiled"
EXAMPLES = """\
  graphcore demo              seven passes over the digits, some 97 % of the others recognised
  graphcore demo --epochs 1   a quick look
"""


def add_arguments(parser: ArgumentParser) -> None:
    """`--epochs` and `--seed`."""
    parser.add_argument("--epochs", type=positive, default=7, help="passes over the digits (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)")


def run(options: Namespace) -> int:
    """The whole demo."""
    from graphcore import demo

    return demo.run(epochs=options.epochs, seed=options.seed)
