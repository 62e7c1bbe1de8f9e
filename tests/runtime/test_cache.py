"""The object-code cache: round trips, damage, ownership and permissions, concurrent processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from runtime import cache as cache_module
from runtime.cache import CacheWarning, ObjectCache, default_cache, default_folder, open_cache

KEY, SYMBOL, CODE = "ab" * 32, "kernel_\u03b1", bytes(range(256)) * 40
POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files carry no owner here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "nested" / "graphcore"


def only_entry(folder: Path) -> Path:
    (entry,) = folder.iterdir()
    return entry


def test_put_then_get(folder: Path) -> None:
    cache = open_cache(folder)
    assert cache.get(KEY) is None
    assert cache.put(KEY, SYMBOL, CODE)
    assert cache.get(KEY) == (SYMBOL, CODE)
    assert open_cache(folder).get(KEY) == (SYMBOL, CODE)
    assert cache.put(KEY, SYMBOL, b"")
    assert cache.get(KEY) == (SYMBOL, b"")
    assert cache.get("cd" * 32) is None
    assert len(list(folder.iterdir())) == 1


def test_keys_cannot_leave_the_folder(folder: Path) -> None:
    cache = open_cache(folder)
    assert cache.put("../../outside", "f", b"1")
    assert cache.get("../../outside") == ("f", b"1")
    assert only_entry(folder).parent == folder


@pytest.mark.parametrize("position", [0, 7, 8, 39, 40, 44, 48, 56, 60, 130, 5000, -1])
def test_a_damaged_entry_is_a_miss_and_is_replaced(folder: Path, position: int) -> None:
    cache = open_cache(folder)
    cache.put(KEY, SYMBOL, CODE)
    data = bytearray(only_entry(folder).read_bytes())
    data[position] ^= 0x40
    only_entry(folder).write_bytes(data)
    assert cache.get(KEY) is None
    assert list(folder.iterdir()) == []
    cache.put(KEY, SYMBOL, CODE)
    assert cache.get(KEY) == (SYMBOL, CODE)


@pytest.mark.parametrize("length", [0, 1, 55, 56, 100, 10_000])
def test_a_cut_entry_is_a_miss(folder: Path, length: int) -> None:
    cache = open_cache(folder)
    cache.put(KEY, SYMBOL, CODE)
    entry = only_entry(folder)
    entry.write_bytes(entry.read_bytes()[:length])
    assert cache.get(KEY) is None


def test_an_entry_of_another_key_is_a_miss(folder: Path) -> None:
    cache = open_cache(folder)
    cache.put(KEY, SYMBOL, CODE)
    other = cache._path("other")
    only_entry(folder).rename(other)
    assert cache.get("other") is None


@POSIX
def test_the_folder_and_its_entries_are_private(folder: Path) -> None:
    previous = os.umask(0)
    try:
        cache = open_cache(folder)
        cache.put(KEY, SYMBOL, CODE)
    finally:
        os.umask(previous)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert only_entry(folder).stat().st_mode & 0o777 == 0o600


@POSIX
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
def test_a_folder_that_others_can_write_is_refused(folder: Path, mode: int) -> None:
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with pytest.warns(CacheWarning, match=rf"others can write to .* \(mode {mode:04o}\)"):
        cache = open_cache(folder)
    assert not cache.enabled
    assert not cache.put(KEY, SYMBOL, CODE)
    assert cache.get(KEY) is None
    assert list(folder.iterdir()) == []


@POSIX
def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.warns(CacheWarning, match=r"belongs to user \d+, not to you \(\d+\)"):
        assert not open_cache(folder).enabled


@POSIX
def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.warns(CacheWarning, match="a link is not followed"):
        assert not open_cache(folder).enabled


@POSIX
def test_entries_that_are_not_the_users_own_are_misses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = open_cache(folder)
    cache.put(KEY, SYMBOL, CODE)
    only_entry(folder).chmod(0o620)
    assert cache.get(KEY) is None
    cache.put(KEY, SYMBOL, CODE)
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert cache.get(KEY) is None


@POSIX
def test_links_and_pipes_in_place_of_entries_are_misses(folder: Path, tmp_path: Path) -> None:
    cache = open_cache(folder)
    cache.put(KEY, SYMBOL, CODE)
    moved = only_entry(folder).rename(tmp_path / "moved")
    cache._path(KEY).symlink_to(moved)
    assert cache.get(KEY) is None
    cache._path(KEY).unlink(missing_ok=True)
    os.mkfifo(cache._path(KEY), 0o600)
    assert cache.get(KEY) is None


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(CacheWarning, match="cannot be made"):
        assert not open_cache(tmp_path / "file" / "graphcore").enabled


def test_a_disk_that_refuses_warns_once_and_disables(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = open_cache(folder)

    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.warns(CacheWarning, match="No space left"):
        assert not cache.put(KEY, SYMBOL, CODE)
    assert not cache.put(KEY, SYMBOL, CODE)  # a second warning would be an error here
    assert list(folder.iterdir()) == []
    assert "No space left" in repr(cache)


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHCORE_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
    assert default_cache() is default_cache()
    monkeypatch.setenv("GRAPHCORE_CACHE", "off")
    assert default_folder() is None
    assert not default_cache().enabled
    monkeypatch.delenv("GRAPHCORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_folder() == tmp_path / "graphcore"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert default_folder() == tmp_path / ".cache" / "graphcore"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_folder() == tmp_path / "Library" / "Caches" / "graphcore"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert default_folder() == tmp_path / "graphcore" / "cache"


def test_an_unsafe_default_folder_warns_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("not a folder")
    monkeypatch.setenv("GRAPHCORE_CACHE", str(folder))
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        assert not default_cache().enabled
        assert not default_cache().enabled
    assert [warning.category for warning in record] == [CacheWarning]


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_folder() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(cache_module, "default_folder", no_folder)
    with pytest.warns(CacheWarning, match="set GRAPHCORE_CACHE"):
        assert not default_cache().enabled


def test_trim_removes_what_was_used_longest_ago(folder: Path) -> None:
    cache = ObjectCache(open_cache(folder).folder, limit_bytes=4 * 1200)
    for number in range(8):
        cache.put(str(number), "f", bytes(1000))
        os.utime(cache._path(str(number)), (1000 + number, 1000 + number))
    assert cache.get("0") is not None  # used just now
    assert cache.trim() > 0
    left = [number for number in range(8) if cache.get(str(number)) is not None]
    assert 0 in left
    assert 7 in left
    assert 1 not in left
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 4 * 1200
    assert cache.trim() == 0
    cache.clear()
    assert list(folder.iterdir()) == []


def test_files_of_crashed_writers_go_after_a_day(folder: Path) -> None:
    cache = open_cache(folder)
    old, new = folder / ".writing-1-a", folder / ".writing-2-b"
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (time.time() - 100_000,) * 2)
    cache.trim()
    assert not old.exists()
    assert new.exists()


WRITER = """
import sys
from pathlib import Path
from runtime.cache import open_cache
cache = open_cache(Path(sys.argv[1]))
for round in range(30):
    for number in range(4):
        code = bytes([number]) * (10_000 + number)
        assert cache.put(str(number), f"f{number}", code)
        found = cache.get(str(number))
        assert found is None or found == (f"f{number}", code)
"""


def test_concurrent_processes_never_see_half_an_entry(folder: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, str(folder)]) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    cache = open_cache(folder)
    for number in range(4):
        assert cache.get(str(number)) == (f"f{number}", bytes([number]) * (10_000 + number))
    assert len(list(folder.iterdir())) == 4
