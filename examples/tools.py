"""What the examples share: their options, finding data, and the table at the end."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

import graphcore as keras
from graphcore.datasets.files import DATA_VARIABLE, DatasetUnavailableError, data_folders, find_given

Rows = Sequence[tuple[str, str]]


def data_file(name: str) -> Path:
    """The file of that name in `$GRAPHCORE_DATA` or its folder `datasets`.

    Raises:
        DatasetUnavailableError: if it is not there.
    """
    found = find_given(name)
    if found is not None:
        return found
    looked = ", ".join(str(folder) for folder in data_folders()) or f"nowhere, {DATA_VARIABLE} is not set"
    raise DatasetUnavailableError(
        f"data file {name!r} was not found (looked in: {looked}). Put it into a folder and name that folder with "
        f"--data FOLDER or {DATA_VARIABLE}=FOLDER; examples/README.md says where the file comes from."
    )


def main(description: str | None, run: Callable[[], Rows]) -> None:
    """Run one example from the command line: read the options, run it, print the table and the time it took."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", help=f"folder with the data; the default is ${DATA_VARIABLE}")
    parser.add_argument("--seed", type=int, default=0, help="of weights, dropout and the order of the samples")
    options = parser.parse_args()
    if options.data:
        os.environ[DATA_VARIABLE] = options.data
    keras.utils.set_random_seed(options.seed)
    begin, worked = time.perf_counter(), time.process_time()
    try:
        rows = run()
    except DatasetUnavailableError as error:
        sys.exit(str(error))
    seconds, processor = time.perf_counter() - begin, time.process_time() - worked
    times = [("time, compiling included", f"{seconds:.0f} s"), ("processor time of all threads", f"{processor:.0f} s")]
    show([*rows, *times])


def show(rows: Rows) -> None:
    """Print a table of names and values."""
    table = Table("Result", "", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for row in rows:
        table.add_row(*row)
    Console().print(table, highlight=False)
