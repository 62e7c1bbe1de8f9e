"""Find a data set's file on this machine, or download it and check what came."""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

DATA_VARIABLE = "GRAPHCORE_DATA"
TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 20
# Not OSError as a whole: a full disk is not a missing network.
NETWORK_ERRORS = (
    urllib.error.URLError, http.client.HTTPException, ssl.SSLError, TimeoutError, ConnectionError,
)  # fmt: skip


@dataclass(frozen=True)
class RemoteFile:
    """One published file: its name, where it is published, its digest, and how many bytes it may have.

    The digest is a SHA-256 unless only an older one was ever published; `algorithm` then says which.
    """

    name: str
    url: str
    digest: str
    size_limit: int
    algorithm: str = "sha256"


class DatasetUnavailableError(OSError):
    """A data set is neither on this machine nor could it be downloaded."""


class DatasetCorruptError(ValueError):
    """A data set's file is not what it has to be."""


def data_folders() -> tuple[Path, ...]:
    """Folders that the user filled: `$GRAPHCORE_DATA` and its `datasets` folder; empty if it is not set."""
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        return ()
    folder = Path(value).expanduser()
    return folder, folder / "datasets"


def cache_folder() -> Path:
    """Where downloads are kept: below `$XDG_CACHE_HOME`, or `~/.cache` where that is not set."""
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "graphcore" / "datasets"


def find_given(name: str) -> Path | None:
    """The file of that name in the user's data folders, or None.

    Such a file is the user's own word: it is not compared with a published hash, so that a subset or a
    corrected copy can be used. Its structure is checked by whoever reads it.
    """
    for folder in data_folders():
        candidate = folder / name
        if candidate.is_file():
            return candidate
    return None


def find_local(remote: RemoteFile) -> Path | None:
    """The file in the data folders or the cache, or None.

    Raises:
        DatasetCorruptError: if the cached copy does not have the published digest.
    """
    given = find_given(remote.name)
    if given is not None:
        return given
    cached = cache_folder() / remote.name
    if not cached.is_file():
        return None
    check_hash(cached, remote)
    return cached


def fetch(remote: RemoteFile) -> Path:
    """Path of the file, downloaded into the cache if it is nowhere on this machine.

    Raises:
        DatasetUnavailableError: if it must be downloaded and cannot be.
        DatasetCorruptError: if the cached or downloaded file does not have the published digest.
    """
    local = find_local(remote)
    if local is not None:
        return local
    target = cache_folder() / remote.name
    target.parent.mkdir(parents=True, exist_ok=True)
    # The name appears only when the file is whole and checked, so a broken download leaves nothing behind.
    handle, partial_name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    partial = Path(partial_name)
    try:
        with os.fdopen(handle, "wb") as output:
            download(remote, output)
        check_hash(partial, remote)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def download(remote: RemoteFile, output: BinaryIO) -> None:
    """Copy the published file to an open file, refusing more bytes than it can have."""
    if not remote.url.startswith("https://"):
        raise ValueError(f"{remote.name}: expected an https address, received {remote.url}")
    received = 0
    try:
        with urllib.request.urlopen(remote.url, timeout=TIMEOUT_SECONDS) as response:
            while chunk := response.read(CHUNK_BYTES):
                received += len(chunk)
                if received > remote.size_limit:
                    excess = f"sent more than {remote.size_limit} bytes; nothing was kept"
                    raise DatasetCorruptError(f"{remote.name}: {remote.url} {excess}")
                output.write(chunk)
    except NETWORK_ERRORS as error:
        raise DatasetUnavailableError(missing_message(remote, error)) from error


def missing_message(remote: RemoteFile, error: Exception) -> str:
    """What was looked for, where, and how to provide it."""
    looked = [str(folder) for folder in (*data_folders(), cache_folder())]
    setting = os.environ.get(DATA_VARIABLE)
    state = f"set to {setting}" if setting else "not set"
    return (
        f"data set file {remote.name!r} is not on this machine and could not be downloaded from {remote.url} "
        f"({error}). Looked in: {', '.join(looked)}. Put {remote.name!r} into a folder and set "
        f"{DATA_VARIABLE} to that folder (it is {state}), or use graphcore.datasets.digits, carried along."
    )


def check_hash(path: Path, remote: RemoteFile) -> None:
    """Raise DatasetCorruptError unless the file has the published digest."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, remote.algorithm).hexdigest()
    if found == remote.digest:
        return
    raise DatasetCorruptError(
        f"{path}: {remote.algorithm} is {found}, but {remote.name} is published with {remote.digest}. "
        "Delete the file to download it again; to use another version, put it into the folder "
        f"that {DATA_VARIABLE} names."
    )
