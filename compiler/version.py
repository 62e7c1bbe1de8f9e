"""Versions for cache keys: they change whenever a source file does."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def source_version(*folders: str) -> str:
    """A digest of names, sizes and times of all Python files in `folders` (relative to the packages' parent)."""
    digest = hashlib.sha256()
    for folder in folders:
        for path, size, modified in sorted(_sources(str(ROOT / folder))):
            digest.update(f"{path.removeprefix(str(ROOT))} {size} {modified}\n".encode())
    return digest.hexdigest()


def _sources(folder: str) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of modification of each Python file below a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                state = entry.stat()
                yield entry.path, state.st_size, state.st_mtime_ns
            elif entry.name != "__pycache__" and entry.is_dir():
                yield from _sources(entry.path)
