"""The command `graphcore`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import cast

import graphcore
from graphcore.commands import COMMANDS, Command
from graphcore.on_demand import import_quickly


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return _command(options.command).run(options)
    except (ValueError, OSError) as error:
        print(f"graphcore {options.command}: {error}", file=sys.stderr)
        return 2


def make_parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    parser = argparse.ArgumentParser(
        prog="graphcore", description="A deep learning engine with the face of Keras that compiles whole steps."
    )
    parser.add_argument("--version", action="version", version=f"graphcore {graphcore.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name in COMMANDS:
        module = _command(name)
        own = commands.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            epilog=f"examples:\n{module.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(own)
    return parser


def _command(name: str) -> Command:
    return cast(Command, import_quickly(f"graphcore.commands.{name}"))


if __name__ == "__main__":
    sys.exit(main())
