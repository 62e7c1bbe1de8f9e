"""The commands of `graphcore`: one module each, with a docstring that `--help` shows, and one line here."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Protocol

__all__ = ["COMMANDS", "Command"]

# Modules of this package, in the order in which `graphcore --help` lists them.
COMMANDS = ("demo", "summary", "ir", "opt", "report", "diff", "profile", "bench", "doctor", "cache")


class Command(Protocol):
    """What a module of a command has. It is imported for `--help` too, so what it needs to run is imported there."""

    HELP: str  # one line
    EXAMPLES: str  # command lines and what they do, shown at the end of the command's own help

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Its own options."""
        ...

    def run(self, options: Namespace) -> int:
        """Do it; returns the exit code. A `ValueError` or `OSError` is shown as one line, without its traceback."""
        ...
