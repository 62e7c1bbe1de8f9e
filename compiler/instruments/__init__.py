"""Watching the passes: one protocol, and instruments that compose.

`run_pipeline(graph, context, instruments=(records, Reproducer("repro.gcir")))` asks them before each pass and tells
them after it. What the environment asks for (`GRAPHCORE_LOGS`, `GRAPHCORE_DUMP`) is `compiler.instruments.environment`.
"""

from compiler.instruments.instrument import Instrument
from compiler.instruments.records import PassRecord, Records

__all__ = ["Instrument", "PassRecord", "Records"]
