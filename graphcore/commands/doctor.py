"""What a report of a problem should say: versions, processor, threads, the cache and whether it works, the machine's
measured roofs, GPU. The exit code is 1 if something is wrong; then it says how to put it right.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

HELP = "examine the installation and the machine"
EXAMPLES = """\
  graphcore doctor              a table; what is wrong is marked with !
  graphcore doctor --measure    measures the machine's roofs anew first, some ten seconds
  graphcore doctor --json       the same as plain data, to attach to a report
"""


def add_arguments(parser: ArgumentParser) -> None:
    """`--measure` and `--json`."""
    parser.add_argument("--measure", action="store_true", help="measure the roofs anew, and keep them in the cache")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: Namespace) -> int:
    """Print what was found."""
    import json

    from graphcore.doctor import examine

    findings = examine(options.measure)
    problems = [finding for finding in findings if finding.problem]
    if options.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=1))
        return bool(problems)
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            print(f"{finding.topic}:")
            topic = finding.topic
        print(f"{'!' if finding.problem else ' '} {finding.name:24} {finding.value}")
    print("\nNothing is wrong." if not problems else f"\nTo look at ({len(problems)}):")
    for finding in problems:
        print(f"! {finding.topic}, {finding.name}: {finding.problem}")
    return bool(problems)
