"""Reads a grammar as docs/grammar.md writes it, and says whether a text follows it.

Ordered choice and greedy repetition, after Ford's parsing expression grammars (2004).
"""

from __future__ import annotations

import re
from typing import Any

TOKEN = re.compile(r'\s*(?:(?P<text>"[^"]*")|/(?P<regex>(?:[^/\\]|\\.)+)/|(?P<rule>\w+)|(?P<sign>[=;|{}()\[\]]))')
SPACE = re.compile(r"(?:[^\S\n]+(?://[^\n]*)?)?")

Part = tuple[str, Any]


class Grammar:
    """Rules by name."""

    def __init__(self, text: str) -> None:
        self.tokens = list(TOKEN.finditer(text.strip()))
        assert sum(len(match[0]) for match in self.tokens) == len(text.strip()), "the grammar has text that is no token"
        self.at = 0
        self.rules: dict[str, Part] = {}
        while self.at < len(self.tokens):
            name = self.take()["rule"]
            assert self.take()["sign"] == "="
            self.rules[name] = self.choice()
            assert self.take()["sign"] == ";"
        used = {match["rule"] for match in self.tokens if match["rule"]}
        assert used == set(self.rules), "every rule is defined, and every name is a rule"

    def take(self) -> re.Match[str]:
        self.at += 1
        return self.tokens[self.at - 1]

    def choice(self) -> Part:
        alternatives = [self.sequence()]
        while self.tokens[self.at]["sign"] == "|":
            self.take()
            alternatives.append(self.sequence())
        return "choice", alternatives

    def sequence(self) -> Part:
        parts = []
        while self.tokens[self.at]["sign"] not in ("|", ";", "}", ")", "]"):
            parts.append(self.part())
        return "sequence", parts

    def part(self) -> Part:
        token = self.take()
        if token["text"]:
            word = token["text"][1:-1]
            return "regex", re.compile(re.escape(word) + (r"\b" if word.isalnum() else ""))
        if token["regex"]:
            return "regex", re.compile(token["regex"], re.MULTILINE)
        if token["rule"]:
            return "rule", token["rule"]
        kind = {"[": "optional", "{": "repeated", "(": "group"}[token["sign"]]
        inner = self.choice()
        assert self.take()["sign"] == {"optional": "]", "repeated": "}", "group": ")"}[kind]
        return kind, inner

    def accepts(self, text: str) -> bool:
        """Whether all of a text is a `file`."""
        end = self.match(("rule", "file"), text, 0)
        return end is not None and not text[end:].strip()

    def match(self, part: Part, text: str, at: int) -> int | None:
        """Where a part ends that begins at `at`; None if it does not fit."""
        kind, what = part
        match kind:
            case "regex":
                space = SPACE.match(text, at)
                found = what.match(text, space.end() if space else at)
                return found.end() if found else None
            case "rule":
                return self.match(self.rules[what], text, at)
            case "choice":
                return next((end for one in what if (end := self.match(one, text, at)) is not None), None)
            case "sequence":
                end: int | None = at
                for one in what:
                    end = self.match(one, text, end) if end is not None else None
                return end
            case "group":
                return self.match(what, text, at)
            case "optional":
                end = self.match(what, text, at)
                return at if end is None else end
        while (end := self.match(what, text, at)) is not None and end > at:
            at = end
        return at
