"""Measures graphcore against the machine's roof: training steps, inference, latency, first steps, memory, generation,
single kernels. With --peers it takes turns with Keras, PyTorch and ONNX Runtime. The benchmarks are in the repository,
not in an installation.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

HELP = "measure graphcore, alone or beside its peers (in the repository)"
EXAMPLES = """\
  graphcore bench                                               everything, an hour on a quiet machine
  graphcore bench --models mlp cnn --measures train latency     some of it
  graphcore bench --peers .venv-peers/bin/python --models cnn   beside the frameworks of that environment
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Those that most people need; `python -m benchmarks --help` lists all."""
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has the peers; see benchmarks/peers")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="which models (default: all)")
    parser.add_argument("--measures", nargs="+", metavar="MEASURE", help="what to measure (default: all)")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each engine in a row")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of a turn")


def run(options: Namespace) -> int:
    """Run the repository's benchmarks in a process of their own, with these options."""
    import subprocess
    import sys
    from pathlib import Path

    import graphcore

    repository = Path(graphcore.__file__).resolve().parents[1]
    if not (repository / "benchmarks" / "__main__.py").exists():
        raise ValueError("the benchmarks are not installed. Fix: run this in a checkout of the repository")
    command = [sys.executable, "-m", "benchmarks.peers" if options.peers else "benchmarks"]
    if options.peers:
        command += ["--python", str(Path(options.peers).absolute())]
    for name in ("models", "measures", "rounds", "seconds"):
        given = getattr(options, name)
        if given is not None:
            command += [f"--{name}", *map(str, given if isinstance(given, list) else [given])]
    return subprocess.run(command, cwd=repository, check=False).returncode
