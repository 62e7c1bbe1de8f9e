"""What profiling costs, and how much of the wall time it accounts for: training steps, profiled and not, in turns.

    python -m benchmarks.profiler            the CNN, on one thread and on all
    python -m benchmarks.profiler lstm       another model of the benchmarks
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time

import graphcore
from benchmarks.keras_models import build, compile_for_training
from benchmarks.machine import usable_cores
from benchmarks.workloads import WORKLOADS
from graphcore.profiling import profile
from runtime import set_num_threads

_WARM_STEPS = 12


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one model on so many threads.

    Attributes:
        threads: how many.
        plain: median seconds of a step that is not profiled.
        overhead: median over the rounds of what profiling adds to a step, as a share.
        accounted: the least share of wall time, over the rounds, that was in kernels, waiting or between calls.
        kernels, waiting, between: median shares.
    """

    threads: int
    plain: float
    overhead: float
    accounted: float
    kernels: float
    waiting: float
    between: float


def measure(name: str, threads: int, rounds: int, steps: int) -> Cost:
    """Rounds of some steps with and some without a profile, the one first that was second before."""
    set_num_threads(threads)
    workload = WORKLOADS[name]
    model = build(graphcore, name)
    compile_for_training(graphcore, model)
    x, y = workload.inputs(workload.batch), workload.targets(workload.batch)

    def seconds() -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            model.train_on_batch(x, y)
        return (time.perf_counter() - begin) / steps

    for _ in range(_WARM_STEPS):
        model.train_on_batch(x, y)
    plain, ratios, shares = [], [], []
    for number in range(rounds):
        before = seconds() if number % 2 else None
        with profile() as recording:
            profiled = seconds()
        plain.append(seconds() if before is None else before)
        ratios.append(profiled / plain[-1] - 1)
        shares.append(recording.shares)
    middle = {part: statistics.median(share[part] for share in shares) for part in shares[0]}
    return Cost(
        threads,
        statistics.median(plain),
        statistics.median(ratios),
        min(1 - share["outside programs"] for share in shares),
        middle["kernels"],
        middle["waiting"],
        middle["between calls"],
    )


def table(costs: list[Cost]) -> str:
    """In Markdown."""
    head = "| threads | step, ms | overhead | accounted for, at least | kernels | waiting | between |"
    lines = [head, "|---" * 7 + "|"]
    for cost in costs:
        shares = (cost.overhead, cost.accounted, cost.kernels, cost.waiting, cost.between)
        lines.append(f"| {cost.threads} | {cost.plain * 1e3:.2f} | {' | '.join(f'{share:.2%}' for share in shares)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what the command line names, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="cnn", choices=sorted(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=4, help="in a row, in each half of a round")
    options = parser.parse_args()
    threads = sorted({1, usable_cores()})
    print(table([measure(options.model, count, options.rounds, options.steps) for count in threads]))


if __name__ == "__main__":
    main()
