"""Random recurrences, compiled: against the interpreter in float64, in an arena that holds NaN from the run before."""

from __future__ import annotations

import os

import numpy as np
from hypothesis import HealthCheck, Phase, given, note, settings
from random_loops import UNITS, loops

from compiler.driver import compile_graph
from compiler.interpret import interpret
from compiler.ir import Graph
from compiler.passes.context import PassContext
from compiler.passes.differentiate import differentiate
from compiler.text import to_text

# Steps, batch, and the two limits: none, some and all of the steps, and more than there are.
SIZES = ((5, 4, 3, 0), (5, 4, 0, -2), (5, 4, 5, 2), (1, 1, 2, 0), (6, 2, 2, 5), (4, 3, 1, 2))


@settings(
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    max_examples=int(os.environ.get("GRAPHCORE_EXAMPLES", "60")) // 5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(graph=loops())
def test_loops_agree_with_the_interpreter(graph: Graph) -> None:
    note(to_text(graph))
    judge, program = differentiate(graph, PassContext()), compile_graph(graph).executable
    rng = np.random.default_rng(0)
    variables = [0.5 * rng.normal(size=(UNITS, UNITS)).astype("float32") for _ in graph.variables]
    for steps, batch, *limits in SIZES:
        sequences = [rng.normal(size=(steps, batch, UNITS)).astype("float32") for _ in range(2)]
        everything = [np.array(steps, "int32"), np.array([steps], "int32")]
        program.run([*(np.full_like(x, np.nan) for x in sequences), *everything], variables)
        bounds = [np.array(limits[0], "int32"), np.array([limits[1]], "int32")]
        wide = [x.astype("float64") for x in sequences]
        exact, _ = interpret(judge, [*wide, *bounds], [w.astype("float64") for w in variables])
        got = program.run([*sequences, *bounds], variables)
        for (name, _), value, wanted in zip(graph.outputs, got, exact, strict=True):
            scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
            np.testing.assert_allclose(value, wanted, rtol=2e-3, atol=1e-4 * scale, err_msg=f"{name} {steps} {limits}")
