"""Code as lines of highlighted HTML, and which lines of a kernel's three texts belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["code_lines", "linked_lines"]

# Token types that get a colour, by the shortest prefix of Pygments' short names.
_CLASSES = {"c": "c", "k": "k", "m": "m", "s": "s", "nf": "f", "nv": "v", "nb": "v", "nl": "l", "o": "o", "nd": "f"}


def code_lines(text: str, language: str) -> list[str]:
    """Each line as HTML: text escaped, tokens in `<i class=…>`. `language` is one that Pygments knows."""
    from html import escape

    from pygments.lexers import get_lexer_by_name
    from pygments.token import STANDARD_TYPES

    lines: list[list[str]] = [[]]
    for kind, value in get_lexer_by_name(language, stripnl=False, ensurenl=False).get_tokens(text):
        short = STANDARD_TYPES.get(kind, "")
        name = _CLASSES.get(short[:2]) or _CLASSES.get(short[:1], "")
        for i, part in enumerate(value.split("\n")):
            if i:
                lines.append([])
            if part:
                lines[-1].append(f"<i class={name}>{escape(part)}</i>" if name else escape(part))
    return ["".join(parts) for parts in lines]


_LOCATION = re.compile(r"^\s*\.loc\s+\d+\s+(\d+)")
_LLVM_USE = re.compile(r"!dbg !(\d+)")
_LLVM_LINE = re.compile(r"^!(\d+) = (?:distinct )?!DILocation\(line: (\d+)")


def linked_lines(source: str, llvm: str, assembly: str) -> dict[str, list[int]]:
    """For each line of the IR and of the assembly the line of the source it comes from, counted from 1; 0 for none.

    Taken from the debug locations in the texts.
    """
    most = source.count("\n") + 1
    line_of = {int(m[1]): int(m[2]) for m in map(_LLVM_LINE.match, llvm.splitlines()) if m}
    in_llvm = []
    for text in llvm.split("\n"):
        use = _LLVM_USE.search(text)
        line = line_of.get(int(use[1]), 0) if use else 0
        in_llvm.append(line if line <= most else 0)
    return {"llvm": in_llvm, "assembly": [line if line <= most else 0 for line in _assembly_lines(assembly)]}


def _assembly_lines(assembly: str) -> Iterator[int]:
    line = 0
    for text in assembly.split("\n"):
        found = _LOCATION.match(text)
        if found:
            line = int(found[1])
        elif text[:1] not in ("\t", " "):
            yield 0
            continue
        yield line
