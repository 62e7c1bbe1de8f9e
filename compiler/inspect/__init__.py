"""Looking at graphs: export to networkx for analyses, and to DOT for drawing."""

from compiler.inspect.export import to_dot, to_networkx

__all__ = ["to_dot", "to_networkx"]
