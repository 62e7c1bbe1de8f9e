"""The command `graphcore`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import graphcore
from graphcore import demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.command == "demo":
        return demo.run(epochs=options.epochs, seed=options.seed)
    parser.print_help()
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="graphcore", description="A deep learning engine with the face of Keras that compiles whole steps."
    )
    parser.add_argument("--version", action="version", version=f"graphcore {graphcore.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    show = commands.add_parser(
        "demo",
        help="train a network on handwritten digits and show what was compiled",
        description="Trains a convolutional network on 4000 handwritten digits, then prints the optimized graph "
        "of the training step, its kernels with their times, and its memory plan. The exit code is 1 if it "
        f"recognises less than {demo.TARGET_ACCURACY:.1%} of 1000 other digits.",
    )
    show.add_argument("--epochs", type=positive, default=7, help="passes over the digits (default: %(default)s)")
    show.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)")
    return parser


def positive(text: str) -> int:
    """A positive integer on the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
