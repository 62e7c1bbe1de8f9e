"""Checks that a graph is well formed; runs after every pass."""

from __future__ import annotations

from compiler.ir import Graph, Node, Value


class VerifyError(Exception):
    """A pass produced a graph that breaks a rule of the IR."""


def verify(graph: Graph, checked: set[Node] | None = None) -> None:
    """Re-run every type rule and check that each value is defined once, before it is used.

    `checked` are nodes whose types are known to be right, with what their bodies hold; those of this graph join them.

    Raises:
        VerifyError: naming the node, what was expected and what was found.
    """
    checked = set() if checked is None else checked
    known: set[Value] = set()
    names: set[str] = set()
    for entry in graph.parameters:
        if entry.name in names:
            raise VerifyError(f"two inputs or variables of '{graph.name}' are named '{entry.name}'")
        if entry.value.node is not None:
            raise VerifyError(f"input '{entry.name}' of '{graph.name}' is computed by '{entry.value.node.op.name}'")
        names.add(entry.name)
        known.add(entry.value)
    for node in graph.nodes:
        if not known.issuperset(node.inputs):
            missing = [i for i, value in enumerate(node.inputs) if value not in known]
            raise VerifyError(f"'{node.op.name}' ({node.layer}) uses input {missing[0]} before it exists")
        if node not in checked:
            _verify_types(node, checked)
        if known.intersection(node.outputs):
            raise VerifyError(f"'{node.op.name}' ({node.layer}) stands in the graph twice")
        known.update(node.outputs)
    _verify_results(graph, known)


def _verify_types(node: Node, checked: set[Node]) -> None:
    types = tuple(value.type for value in node.outputs)
    expected = node.op.infer(*(value.type for value in node.inputs))
    if types != expected:
        raise VerifyError(
            f"'{node.op.name}' ({node.layer}) is typed {', '.join(map(str, types))}, "
            f"its rule says {', '.join(map(str, expected))}"
        )
    for value in node.op.fields.values():
        if isinstance(value, Graph):
            verify(value, checked)
    checked.add(node)


def _verify_results(graph: Graph, known: set[Value]) -> None:
    for name, value in graph.outputs + graph.updates:
        if value not in known:
            raise VerifyError(f"result '{name}' of '{graph.name}' is not computed in it")
    variables = {entry.name: entry.value.type for entry in graph.variables}
    seen: set[str] = set()
    for name, value in graph.updates:
        if name not in variables:
            raise VerifyError(f"update of '{name}', which is no variable of '{graph.name}'")
        if name in seen:
            raise VerifyError(f"variable '{name}' is updated twice")
        if variables[name] != value.type:
            raise VerifyError(f"update of '{name}' has type {value.type}, the variable {variables[name]}")
        seen.add(name)
