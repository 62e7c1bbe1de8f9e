"""Says which nodes, inputs and results of two graphs differ, whatever their values are called and in whatever order
independent nodes stand. Lines of the user's source do not count. The exit code is 0 if nothing differs and 1 if
something does.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.ops.sources import ArrayAttribute

HELP = "what differs between two graphs, up to the names of values"
EXAMPLES = """\
  graphcore diff before.gcir after.gcir           + added, - removed, ~ changed, and how
  graphcore diff before.gcir after.gcir --quiet   only the exit code
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Two files and `--quiet`."""
    parser.add_argument("before", type=Path, help="a graph (.gcir)")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--quiet", action="store_true", help="print nothing")


def run(options: Namespace) -> int:
    """Print the difference."""
    from compiler.inspect.difference import difference
    from compiler.instruments.files import graph_of_text
    from compiler.text import large_constants
    from graphcore.commands.highlighting import show

    texts = [path.read_text(encoding="utf-8") for path in (options.before, options.after)]
    # An array that one file holds and the other names by its hash is the same array.
    held: dict[str, ArrayAttribute] = {}
    for text in texts:
        held |= large_constants(graph_of_text(text)[0])
    before, after = (graph_of_text(text, held)[0] for text in texts)
    found = difference(before, after)
    if not options.quiet:
        show(str(found) if found else f"no difference: {len(before.nodes)} nodes\n", "diff")
    return 1 if found else 0
