"""Numbers for people, colours of layers, and marks on axes."""

from __future__ import annotations

import math
from zlib import crc32

__all__ = ["bytes_text", "count_text", "hue_of", "log_ticks", "percent_text", "seconds_text", "ticks"]


def hue_of(name: str) -> int:
    """The same number below 12 for the same name: a place in the page's palette."""
    return crc32(name.encode()) % 12


def count_text(number: float) -> str:
    """'312', '4.1 k', '25.6 M'."""
    return _scaled(number, 1000, ("", "k", "M", "G", "T", "P"))


def bytes_text(size: float) -> str:
    """'640 B', '1.5 KiB'."""
    return _scaled(size, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def seconds_text(seconds: float) -> str:
    """'840 ns', '12.5 µs', '3.1 ms', '2.2 s'."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{_digits(seconds * factor)} {unit}"
    return f"{seconds * 1e9:.0f} ns" if seconds else "0"


def percent_text(share: float) -> str:
    """'12.3 %'."""
    return f"{share * 100:.1f} %"


def _scaled(number: float, step: int, units: tuple[str, ...]) -> str:
    power = 0
    while abs(number) >= step and power < len(units) - 1:
        number /= step
        power += 1
    return f"{_digits(number)} {units[power]}".rstrip()


def _digits(number: float) -> str:
    """Three digits, or all before the point."""
    if number == int(number) and abs(number) < 1000:
        return str(int(number))
    places = max(0, 2 - math.floor(math.log10(abs(number)))) if number else 0
    return f"{number:.{min(places, 2)}f}"


def ticks(most: float, about: int = 5) -> list[float]:
    """Round numbers from 0 to `most`."""
    if most <= 0:
        return [0.0]
    raw = most / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [i * step for i in range(int(most / step) + 1)]


def log_ticks(least: float, most: float) -> list[float]:
    """Powers of ten between two numbers."""
    return [10.0**k for k in range(math.ceil(math.log10(least)), math.floor(math.log10(most)) + 1)]
