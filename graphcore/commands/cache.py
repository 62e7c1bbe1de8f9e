"""Shows or empties the folder of compiled programs and kernels, from which a later process takes them instead of
compiling anew. Nothing is lost with it but time.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

HELP = "show or empty the folder of compiled programs"
EXAMPLES = """\
  graphcore cache            where it is, how much it holds, and since when that was not used
  graphcore cache --trim     remove what was used longest ago, as far as it is over its limit
  graphcore cache --clear    remove everything
"""


def add_arguments(parser: ArgumentParser) -> None:
    """`--trim` and `--clear`."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--trim", action="store_true", help="remove what is over the limit")
    what.add_argument("--clear", action="store_true", help="remove everything")


def run(options: Namespace) -> int:
    """Do it, and say what there is then."""
    import time

    from runtime.cache import default_cache

    store = default_cache()
    if store.folder is None:
        print(f"There is no cache: {store.reason}.")
        return 1
    before = sum(entry.size for entry in store.entries())
    if options.clear:
        store.clear()
    if options.trim:
        store.trim()
    entries = list(store.entries())
    size, limit = sum(entry.size for entry in entries), store.limit_bytes
    if options.clear or options.trim:
        print(f"removed  {(before - size) / 2**20:.1f} MiB")
    print(f"folder   {store.folder}")
    print(f"entries  {len(entries)}, {size / 2**20:.1f} of at most {limit / 2**20:.0f} MiB")
    if entries:
        days = (time.time() - min(entry.used for entry in entries)) / 86400
        print(f"oldest   used {days:.1f} days ago")
    return 0
