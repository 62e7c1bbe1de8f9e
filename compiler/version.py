"""Versions for cache keys: they change whenever a source file does."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def source_version(*places: str) -> str:
    """A digest of names, sizes and times of Python files: those named, and all in the folders named.

    Places are relative to the packages' parent. Raises `FileNotFoundError` for one that is not there.
    """
    digest = hashlib.sha256()
    for place in places:
        for path, size, modified in sorted(_sources(str(ROOT / place))):
            digest.update(f"{path.removeprefix(str(ROOT))} {size} {modified}\n".encode())
    return digest.hexdigest()


def _sources(place: str) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of modification of a Python file, or of each below a folder."""
    if place.endswith(".py"):
        state = os.stat(place)
        yield place, state.st_size, state.st_mtime_ns
        return
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                state = entry.stat()
                yield entry.path, state.st_size, state.st_mtime_ns
            elif entry.name != "__pycache__" and entry.is_dir():
                yield from _sources(entry.path)
