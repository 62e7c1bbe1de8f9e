"""Looking at graphs and what becomes of them: stages of a compilation, the report page, exports, counts of work."""

from compiler.inspect.export import to_dot, to_networkx
from compiler.inspect.model_explorer import to_model_explorer
from compiler.inspect.operations import contraction_flops
from compiler.inspect.report_page import report
from compiler.inspect.stages import Stages, stages

__all__ = ["Stages", "contraction_flops", "report", "stages", "to_dot", "to_model_explorer", "to_networkx"]
