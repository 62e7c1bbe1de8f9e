"""How long a user waits: import, the first training step cold and warm, and each step after that.

    python benchmarks/start_up.py [--rounds N]

Every figure comes from processes of their own. *Cold* starts with an empty kernel cache, *warm* with the one the
cold run filled; both include the import and building the model. Step times are medians over the rounds' steps.
Prints a Markdown table; times of a busy machine say little, so look at the spread (smallest and largest).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

MODELS = ("mlp", "digits", "residual")
STEPS = 30
BATCH = 64

CHILD = """
import time
start = time.perf_counter()
import json, sys
import numpy as np
import graphcore as keras
imported = time.perf_counter()
sys.path.insert(0, {folder!r})
from start_up_models import build
model, x, y = build({model!r}, {batch})
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.train_on_batch(x, y)
first = time.perf_counter()
steps = []
for _ in range({steps}):
    before = time.perf_counter()
    model.train_on_batch(x, y)
    steps.append(time.perf_counter() - before)
print(json.dumps(dict(imported=imported - start, first=first - start, steps=steps, numba="numba" in sys.modules)))
"""


def run(model: str, cache: Path) -> dict[str, object]:
    """One process: its import time, time to the first step, and step times, in seconds."""
    source = CHILD.format(folder=str(Path(__file__).parent), model=model, batch=BATCH, steps=STEPS)
    environment = os.environ | {"GRAPHCORE_CACHE": str(cache)}
    output = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True)
    result: dict[str, object] = json.loads(output.stdout.splitlines()[-1])
    return result


def spread(values: list[float], unit: float, digits: int) -> str:
    """Median with smallest and largest."""
    scaled = [value / unit for value in values]
    middle = f"{statistics.median(scaled):.{digits}f}"
    return f"{middle} ({min(scaled):.{digits}f}–{max(scaled):.{digits}f})"


def import_times(module: str, rounds: int) -> list[float]:
    """Seconds that `import module` takes inside a new process."""
    source = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", source]
    return [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(rounds)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="processes for each figure (default: %(default)s)")
    rounds = parser.parse_args().rounds
    print("| import | seconds |\n|---|---|")
    for module in ("numpy", "graphcore"):
        print(f"| {module} | {spread(import_times(module, 2 * rounds), 1, 2)} |")
    print(f"\nBatch {BATCH}; median (smallest to largest).\n")
    print("| model | first step cold, s | first step warm, s | step, ms | Numba imported when warm |")
    print("|---|---|---|---|---|")
    for model in MODELS:
        cold, warm, steps, numba = [], [], [], False
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                cache = Path(folder) / "cache"
                cold.append(float(run(model, cache)["first"]))  # type: ignore[arg-type]
                second = run(model, cache)
                warm.append(float(second["first"]))  # type: ignore[arg-type]
                steps.extend(second["steps"])  # type: ignore[arg-type]
                numba = bool(second["numba"])
        row = (spread(cold, 1, 2), spread(warm, 1, 2), spread(steps, 1e-3, 2), "yes" if numba else "no")
        print(f"| {model} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
