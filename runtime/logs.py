"""What goes on inside, on stderr: `GRAPHCORE_LOGS=passes,cache python train.py`.

Each topic is off unless the variable names it, and then costs one look into a set. Lines begin with the topic and the
milliseconds since the first one, so that `grep` and the eye can tell them apart.
"""

from __future__ import annotations

import functools
import os
import sys
import time

__all__ = ["TOPICS", "is_logged", "log", "logged_topics"]

VARIABLE = "GRAPHCORE_LOGS"
TOPICS = ("passes", "fusion", "memory", "kernels", "cache")
_START: list[float] = []


def logged_topics() -> frozenset[str]:
    """The topics that `GRAPHCORE_LOGS` names, separated by commas; `all` names every one.

    Raises:
        ValueError: for a topic that does not exist.
    """
    return _topics_in(os.environ.get(VARIABLE, ""))


@functools.cache
def _topics_in(text: str) -> frozenset[str]:
    words = {word.strip() for word in text.split(",")} - {""}
    unknown = words.difference(TOPICS, ("all",))
    if unknown:
        raise ValueError(
            f"{VARIABLE} names {', '.join(sorted(unknown))}. Expected some of {', '.join(TOPICS)}, or all, "
            f"separated by commas. Received: {text!r}"
        )
    return frozenset(TOPICS if "all" in words else words)


def is_logged(topic: str) -> bool:
    """Whether lines on this topic are wanted. Ask before making an expensive one."""
    text = os.environ.get(VARIABLE)
    return bool(text) and topic in _topics_in(text or "")


def log(topic: str, text: str) -> None:
    """Write lines on a topic to stderr if they are wanted."""
    if not is_logged(topic):
        return
    now = time.perf_counter()
    if not _START:
        _START.append(now)
    head = f"[{topic} {1e3 * (now - _START[0]):9.1f} ms] "
    sys.stderr.write("".join(f"{head}{line}\n" for line in text.splitlines()))
