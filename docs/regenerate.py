"""Puts the output of real commands into the documents beside it: `python docs/regenerate.py [--check]`.

A document says what to run in a comment; the fenced block that follows is replaced by what the command prints:

    <!-- run: python -m compiler.ops -->
    ```text
    ...
    ```
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
BLOCK = re.compile(r"(<!-- run: (?P<command>.+?) -->\n```\w*\n)(?P<output>.*?)(^```$)", re.DOTALL | re.MULTILINE)


def output_of(command: str) -> str:
    """What a command prints, run from the root of the repository by this interpreter."""
    words = shlex.split(command)
    if words[0] != "python":
        raise ValueError(f"Commands in documents start with 'python'. Received: {command!r}")
    done = subprocess.run([sys.executable, *words[1:]], cwd=FOLDER.parent, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stderr}")
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


def regenerated(text: str) -> str:
    """A document with every block replaced by its command's output."""
    return BLOCK.sub(lambda block: f"{block[1]}{output_of(block['command'])}```", text)


def main() -> int:
    """Rewrite the documents, or with `--check` only say which ones are out of date."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="change nothing; fail if a document is out of date")
    check = arguments.parse_args().check
    stale = 0
    for path in sorted(FOLDER.glob("*.md")):
        stored = path.read_text(encoding="utf-8")
        produced = regenerated(stored)
        if produced == stored:
            continue
        stale += 1
        print(f"{path.name} is out of date: python docs/regenerate.py" if check else f"{path.name} is rewritten")
        if not check:
            path.write_text(produced, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
