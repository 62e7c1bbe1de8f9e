"""Looking at graphs: export to networkx for analyses, to DOT for drawing, and counts of arithmetic."""

from compiler.inspect.export import to_dot, to_networkx
from compiler.inspect.operations import contraction_flops

__all__ = ["contraction_flops", "to_dot", "to_networkx"]
