"""A content-addressed cache of object code on disk, private to one user.

What is cached will be run, so the folder and every entry must be the user's own: a folder that another user
owns or others can write is refused with one warning, and an entry that another user owns, others can write,
or that does not match its checksum counts as missing. Entries are raw bytes behind a fixed header; nothing
is unpickled. Writers use a temporary file and rename, so processes may share a cache and a crash leaves no half
entry. Nothing waits for the disk: a machine that loses power may leave an entry with half of its bytes, which the
checksum finds, while waiting would add a quarter of a second to a first step of 38 kernels.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from runtime.logs import log

__all__ = ["CacheEntry", "CacheWarning", "ObjectCache", "default_cache", "default_folder", "open_cache"]

# The digit is the version of the format: entries of another one are missing, and are replaced.
_MAGIC = b"GCOBJ1\r\n"
_HEADER = struct.Struct("<8s32sIIQ")
_SUFFIX = ".object"
_TEMPORARY_PREFIX = ".writing-"
_STALE_SECONDS = 24 * 3600
_LIMIT_BYTES = 2 << 30
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class CacheEntry(NamedTuple):
    """A file of the cache: when it was last used (seconds since 1970), and its bytes."""

    used: float
    size: int
    path: Path


class CacheWarning(UserWarning):
    """The object-code cache cannot be used; programs still run, but are compiled again by every process."""


class ObjectCache:
    """Object code by key. Use `open_cache` or `default_cache`, which check the folder first.

    A key must name everything the code depends on: its source, the compiler's version and the target. A
    disabled cache (`folder` is None) holds nothing and `reason` says why.
    """

    def __init__(self, folder: Path | None, reason: str = "", limit_bytes: int = _LIMIT_BYTES) -> None:
        self.folder = folder
        self.reason = reason
        self.limit_bytes = limit_bytes
        self._trimmed = False

    def __repr__(self) -> str:
        return f"ObjectCache({str(self.folder)!r})" if self.enabled else f"ObjectCache(disabled: {self.reason})"

    @property
    def enabled(self) -> bool:
        """False when the cache holds nothing and stores nothing."""
        return self.folder is not None

    def get(self, key: str) -> tuple[str, bytes] | None:
        """The function's symbol and its object code, or None when there is no sound entry for `key`."""
        if self.folder is None:
            return None
        path = self._path(key)
        try:
            data = _read_own_file(path)
        except OSError:
            log("cache", f"{key[:12]}: missing")
            return None
        entry = None if data is None else _decode(key, data)
        if entry is None:
            log("cache", f"{key[:12]}: damaged or not safe, removed: {path}")
            _remove(path)
            return None
        log("cache", f"{key[:12]}: found {entry[0]}, {len(entry[1])} bytes")
        _touch(path)
        return entry

    def put(self, key: str, symbol: str, object_code: bytes) -> bool:
        """Store object code under `key`; False when the cache is disabled or the disk refuses.

        The first refusal gives a `CacheWarning` and disables this cache.
        """
        if self.folder is None:
            return False
        try:
            _write_atomically(self._path(key), _encode(key, symbol, object_code))
        except OSError as error:
            self._disable(f"{self.folder} cannot be written: {error.strerror or error}")
            return False
        log("cache", f"{key[:12]}: stored {symbol}, {len(object_code)} bytes")
        if not self._trimmed:
            self._trimmed = True
            self.trim()
        return True

    def remove(self, key: str) -> None:
        """Forget the entry for `key`, if there is one."""
        if self.folder is not None:
            _remove(self._path(key))

    def trim(self) -> int:
        """Remove the entries used longest ago until the cache is within `limit_bytes`; returns the bytes
        removed."""
        entries = sorted(self.entries())
        excess = sum(entry.size for entry in entries) - self.limit_bytes
        if excess <= 0:
            return 0
        # A quarter more than needed goes, so that not every process trims again.
        goal = excess + self.limit_bytes // 4
        removed = 0
        for _, size, path in entries:
            if removed >= goal:
                break
            _remove(path)
            removed += size
        return removed

    def clear(self) -> None:
        """Remove every entry."""
        for entry in self.entries():
            _remove(entry.path)

    def entries(self) -> Iterator[CacheEntry]:
        """All entries, in no order; files left by crashed writers are removed on the way."""
        if self.folder is None:
            return
        try:
            found = list(os.scandir(self.folder))
        except OSError:
            return
        for item in found:
            try:
                status = item.stat(follow_symlinks=False)
            except OSError:
                continue
            if item.name.startswith(_TEMPORARY_PREFIX):
                if time.time() - status.st_mtime > _STALE_SECONDS:
                    _remove(Path(item.path))
            elif item.name.endswith(_SUFFIX):
                yield CacheEntry(status.st_mtime, status.st_size, Path(item.path))

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / (sha256(key.encode()).hexdigest() + _SUFFIX)

    def _disable(self, reason: str) -> None:
        self.folder = None
        self.reason = reason
        _warn(reason)


def default_folder() -> Path | None:
    """`GRAPHCORE_CACHE`, or the platform's per-user cache folder; None when the variable is `off`."""
    chosen = os.environ.get("GRAPHCORE_CACHE")
    if chosen:
        return None if chosen.lower() == "off" else Path(chosen).absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "graphcore" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "graphcore"
    # The XDG base directory specification: a relative path is to be ignored.
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "graphcore"


def default_cache() -> ObjectCache:
    """The cache in `default_folder`, opened once for each folder in this process."""
    try:
        folder = default_folder()
    except RuntimeError as error:  # no home folder can be found
        return _disabled_once(f"no cache folder can be found ({error}); set GRAPHCORE_CACHE to one")
    if folder is None:
        return ObjectCache(None, "GRAPHCORE_CACHE is 'off'")
    return _open_once(folder)


def open_cache(folder: Path) -> ObjectCache:
    """The cache in `folder`, which is made with mode 0700 when missing.

    A folder that is not safe or cannot be made gives a `CacheWarning` and a disabled cache.
    """
    reason = _make_folder(folder) or _unsafe_reason(folder)
    if reason:
        _warn(reason)
        return ObjectCache(None, reason)
    return ObjectCache(folder)


_open_once = cache(open_cache)


@cache
def _disabled_once(reason: str) -> ObjectCache:
    _warn(reason)
    return ObjectCache(None, reason)


def _warn(reason: str) -> None:
    text = f"compiled kernels are not cached: {reason}. Every process will compile them again."
    warnings.warn(text, CacheWarning, stacklevel=4)


def _make_folder(folder: Path) -> str:
    """Make the folder; the reason when that fails."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        return f"{folder} cannot be made: {error.strerror or error}"
    return ""


def _unsafe_reason(folder: Path) -> str:
    try:
        status = folder.lstat()
    except OSError as error:
        return f"{folder} cannot be examined: {error.strerror or error}"
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder (a link is not followed); remove it or set GRAPHCORE_CACHE"
    user = _user()
    if user is None:
        return ""
    if status.st_uid != user:
        return f"{folder} belongs to user {status.st_uid}, not to you ({user}); set GRAPHCORE_CACHE to your own"
    if status.st_mode & _WRITABLE_BY_OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        return f"others can write to {folder} (mode {mode:04o}); remove it, or empty it and run chmod 700"
    return ""


def _user() -> int | None:
    """The effective user, or None where files carry no owner (Windows keeps profiles private by other
    means)."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def _read_own_file(path: Path) -> bytes | None:
    """The bytes of a regular file that is the user's own and that others cannot write; None for any other."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    # O_NONBLOCK: opening a pipe put in an entry's place must not wait for a writer.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        user = _user()
        if not stat.S_ISREG(status.st_mode):
            return None
        if user is not None and (status.st_uid != user or status.st_mode & _WRITABLE_BY_OTHERS):
            return None
        return file.read()


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{_TEMPORARY_PREFIX}{os.getpid()}-{os.urandom(8).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def _encode(key: str, symbol: str, object_code: bytes) -> bytes:
    key_bytes, symbol_bytes = key.encode(), symbol.encode()
    sizes = struct.pack("<IIQ", len(key_bytes), len(symbol_bytes), len(object_code))
    body = key_bytes + symbol_bytes + object_code
    return _MAGIC + sha256(sizes + body).digest() + sizes + body


def _decode(key: str, data: bytes) -> tuple[str, bytes] | None:
    """The entry for `key` in `data`, or None when it is damaged or another key's."""
    if len(data) < _HEADER.size:
        return None
    magic, checksum, key_size, symbol_size, code_size = _HEADER.unpack_from(data)
    if magic != _MAGIC or len(data) != _HEADER.size + key_size + symbol_size + code_size:
        return None
    if sha256(memoryview(data)[len(_MAGIC) + len(checksum) :]).digest() != checksum:
        return None
    symbol_start = _HEADER.size + key_size
    code_start = symbol_start + symbol_size
    if data[_HEADER.size : symbol_start] != key.encode():
        return None
    return data[symbol_start:code_start].decode(), data[code_start:]


def _touch(path: Path) -> None:
    # Another process may just have removed it: the entry was read all the same.
    with suppress(OSError):
        os.utime(path)


def _remove(path: Path) -> None:
    # Gone already, or not ours to remove: it stays a miss.
    with suppress(OSError):
        path.unlink()
