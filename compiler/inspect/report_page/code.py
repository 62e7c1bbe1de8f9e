"""Code as lines of highlighted HTML, and which lines of a kernel's three texts belong together."""

from __future__ import annotations

import re

__all__ = ["code_lines", "linked_assembly", "linked_llvm"]

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


_LLVM_USE = re.compile(r",? !dbg !(\d+)")
_LLVM_LINE = re.compile(r"!(\d+) = (?:distinct )?!DILocation\(line: (\d+)")
_LLVM_NOTE = re.compile(r"!(llvm\.dbg\.cu|llvm\.module\.flags|\d+) = (?!.*loop|.*branch|.*prof)")
_LOCATION = re.compile(r"\s*\.loc\s+\d+\s+(\d+)")
_DIRECTIVE = re.compile(r"\s*\.(file|cfi_)|\.L(tmp|func_)\w*:")


def linked_llvm(text: str) -> tuple[str, list[int]]:
    """LLVM's IR without its debug locations, and for each line that of the kernel's text that it comes from.

    Lines are counted from 1; 0 stands for none.
    """
    line_of = {found[1]: int(found[2]) for found in _LLVM_LINE.finditer(text)}
    kept, lines = [], []
    for line in text.split("\n"):
        if _LLVM_NOTE.match(line):
            continue
        use = _LLVM_USE.search(line)
        kept.append(_LLVM_USE.sub("", line) if use else line)
        lines.append(line_of.get(use[1], 0) if use else 0)
    return "\n".join(kept), lines


def linked_assembly(text: str) -> tuple[str, list[int]]:
    """Assembly without its debug directives, and the same as for `linked_llvm`."""
    kept, lines = [], []
    current = 0
    for line in text.split("\n"):
        found = _LOCATION.match(line)
        if found:
            current = int(found[1])
            continue
        if _DIRECTIVE.match(line):
            current = 0 if line.startswith(".Lfunc_end") else current
            continue
        is_instruction = line[:1] == "\t" and line[1:2] not in (".", "#")
        kept.append(line)
        lines.append(current if is_instruction else 0)
    return "\n".join(kept), lines
