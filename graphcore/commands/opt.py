"""Runs passes over a graph in a file and prints what becomes of it. Without --passes these are the passes that the
comments at the head of the file name, as in the repro.gcir that a failing pass leaves, or else all passes of the
compiler in order. Every graph is verified after each pass. The exit code is 1 if a pass fails or, with --bisect, if
the results leave the interpreter's.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from graphcore.commands.arguments import read_graph, size

if TYPE_CHECKING:
    from compiler.instruments import Instrument
    from compiler.ir import Graph
    from compiler.passes.context import PassContext

HELP = "run passes over a graph in a file"
EXAMPLES = """\
  graphcore opt step.gcir                                all passes; prints the last graph
  graphcore opt step.gcir --passes canonicalize,fuse -o fused.gcir
  graphcore opt step.gcir --print-changed                the graph after each pass that changed it
  graphcore opt step.gcir --print-diff                   only what each pass changed
  graphcore opt step.gcir --timing --remarks --memory    time of each pass; why edges were not fused; the arena
  graphcore opt step.gcir --load mine.py --passes mine   a pass of your own: a function mine(graph, context)
  graphcore opt step.gcir --bisect --size batch=8        the first pass after which the results are wrong
  graphcore opt repro.gcir                               what a failing pass left, run again
  graphcore opt --list-passes                            all passes, in order
"""
_DEFAULT_SIZE = 4  # the interpreter is slow


def add_arguments(parser: ArgumentParser) -> None:
    """The file, the passes, what to print, what to check."""
    parser.add_argument("file", nargs="?", help="a graph (.gcir); - reads it from stdin")
    parser.add_argument("--passes", metavar="A,B", help="names of passes, separated by commas")
    parser.add_argument("--load", metavar="FILE.py", action="append", default=[],
                        help="add a script's functions of (graph, context) to the passes; one that has the name of a "
                        "pass takes its place")  # fmt: skip
    parser.add_argument("--list-passes", action="store_true", help="print the names of all passes and stop")
    shown = parser.add_argument_group("what to print")
    shown.add_argument("--print-after-all", action="store_true", help="the graph after each pass")
    shown.add_argument("--print-after", metavar="A,B", help="the graph after these passes")
    shown.add_argument("--print-changed", action="store_true", help="only graphs that the pass changed")
    shown.add_argument("--print-diff", action="store_true", help="only the lines that a pass changed")
    shown.add_argument("--generic", action="store_true", help="print every attribute and every op by its name")
    shown.add_argument("--no-sources", action="store_true", help="leave out lines of the user's source")
    shown.add_argument("--timing", action="store_true", help="the time of each pass")
    shown.add_argument("--statistics", action="store_true", help="how many nodes of which op each pass adds or removes")
    shown.add_argument("--remarks", action="store_true", help="why nodes were not fused, and other remarks of passes")
    shown.add_argument("--memory", action="store_true", help="the memory plan")
    shown.add_argument("-o", "--output", metavar="FILE", type=Path, help="write the last graph here, not to stdout")
    checks = parser.add_argument_group("what to check")
    checks.add_argument("--verify", action="store_true",
                        help="beyond types: names of inputs and results, and that each graph reads back")  # fmt: skip
    checks.add_argument("--bisect", action="store_true",
                        help="compare results with the interpreter's after each pass, and stop at the first that "
                        "differs; then those of the compiled program")  # fmt: skip
    checks.add_argument("--repro", metavar="FILE", type=Path, default=Path("repro.gcir"),
                        help="what a failing pass writes (default: %(default)s)")  # fmt: skip
    parser.add_argument("--size", metavar="SYMBOL=VALUE", type=size, action="append", default=[],
                        help=f"size of a symbol for --bisect (default: {_DEFAULT_SIZE})")  # fmt: skip
    parser.add_argument("--seed", type=int, help="of the numbers for --bisect (default: 0)")


def run(options: Namespace) -> int:
    """Run the passes."""
    from compiler.instruments.reproducer import read_header
    from compiler.passes.context import PassContext
    from compiler.pipeline import run_pipeline
    from graphcore.commands.passes import available_passes, chosen_passes

    passes = available_passes(options.load)
    if options.list_passes:
        print("\n".join(pass_.__name__ for pass_ in passes))
        return 0
    if options.file is None:
        raise ValueError("expected a graph (.gcir), or - for stdin. See: graphcore opt --help")
    if not options.bisect and (options.size or options.seed is not None):
        raise ValueError("--size and --seed belong to --bisect")
    text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text(encoding="utf-8")
    header = read_header(text)
    wanted = options.passes.split(",") if options.passes is not None else header.passes
    context = PassContext(bindings=dict(header.bindings), fixed=dict(header.fixed), winograd=header.winograd)
    graph = read_graph(text)
    arrays = _arrays(graph, options, context) if options.bisect else []
    instruments, chosen = _instruments(options, arrays), chosen_passes(passes, wanted)
    try:
        result = run_pipeline(graph, context, passes=chosen, instruments=instruments)
    except BrokenPipeError:
        raise
    except Exception as error:
        return _explain(error, instruments)
    finally:
        _print_tables(options, instruments, context)
    if options.bisect:
        from graphcore.commands.bisection import judge_program

        return judge_program(graph, result, context, arrays, instruments)
    _deliver(result, options)
    return 0


def _renderer(options: Namespace) -> Callable[[Graph], str]:
    from compiler.text import to_text

    return lambda graph: to_text(graph, sources=not options.no_sources, pretty=not options.generic)


def _instruments(options: Namespace, arrays: list[Any]) -> list[Instrument]:
    from compiler.instruments import Records
    from compiler.instruments.printing import Printing
    from compiler.instruments.reproducer import Reproducer
    from compiler.instruments.strict import StrictVerification
    from graphcore.commands.highlighting import show

    chosen: list[Instrument] = [Records()]
    if options.print_after_all or options.print_after or options.print_changed or options.print_diff:
        names = options.print_after.split(",") if options.print_after else None
        if options.print_diff:
            chosen.append(Printing(lambda text: show(text, "diff"), "diff", names))
        else:
            what: Literal["changed", "all"] = "changed" if options.print_changed else "all"
            chosen.append(Printing(show, what, names, _renderer(options)))
    if options.verify:
        chosen.append(StrictVerification())
    if options.bisect:
        from compiler.instruments.results import Results

        chosen.append(Results(arrays))
    return [*chosen, Reproducer(options.repro, tuple(options.load))]


def _arrays(graph: Graph, options: Namespace, context: PassContext) -> list[Any]:
    import numpy as np

    from compiler.instruments.made_up import checked_sizes, made_up_arrays, open_symbols
    from runtime.dimensions import evaluate, symbols_of

    symbols = open_symbols(graph).union(*map(symbols_of, context.bindings.values())) - context.bindings.keys()
    sizes = checked_sizes(symbols, dict(options.size), _DEFAULT_SIZE, context.fixed)
    sizes |= {name: evaluate(dim, sizes) for name, dim in context.bindings.items()}
    return [*made_up_arrays(graph, sizes, np.random.default_rng(options.seed or 0), signed=True)]


def _explain(error: Exception, instruments: list[Instrument]) -> int:
    """What failed and where, without the graph: that is in the file that the failing pass left."""
    from compiler.instruments.results import Results
    from graphcore.commands.bisection import show_wrong

    where, *rest = getattr(error, "__notes__", None) or [""]
    wrong = [instrument for instrument in instruments if isinstance(instrument, Results) and instrument.wrong]
    if wrong:
        show_wrong(wrong[0], error)
    else:
        place = where.partition(", on:\n")[0] or "before the first pass"
        print(f"graphcore opt: {type(error).__name__} {place}: {error}", file=sys.stderr)
    for note in rest:
        print(f"graphcore opt: {note}", file=sys.stderr)
    return 1


def _print_tables(options: Namespace, instruments: list[Instrument], context: PassContext) -> None:
    from compiler.instruments import Records
    from compiler.instruments.logs import memory_table, memory_text

    (records,) = (instrument for instrument in instruments if isinstance(instrument, Records))
    if options.timing:
        sys.stdout.write(_commented(records.table))
    if options.statistics:
        sys.stdout.write(_commented("\n".join(record.change for record in records.records if record.changed)))
    if options.remarks:
        sys.stdout.write(_commented("\n".join(map(str, context.remarks))))
    if options.memory:
        sys.stdout.write(_commented(f"memory: {memory_text(context)}\n{memory_table(context)}"))


def _commented(text: str) -> str:
    """Lines as comments of the text form, so that the whole output is a graph that can be read."""
    return "".join(f"// {line}\n" for line in text.splitlines())


def _deliver(graph: Graph, options: Namespace) -> None:
    from compiler.text import to_text
    from graphcore.commands.highlighting import show

    if options.output is None:
        show(_renderer(options)(graph))
        return
    whole = to_text(graph, sources=not options.no_sources, pretty=not options.generic, inline=sys.maxsize)
    options.output.write_text(whole, encoding="utf-8")
