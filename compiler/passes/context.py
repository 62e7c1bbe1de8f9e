"""What passes share while one graph goes through the pipeline."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from compiler.target import Target, host_target
from runtime.dimensions import Dim
from runtime.records import record

if TYPE_CHECKING:
    from compiler.passes.plan_memory import MemoryPlan


@record
class Remark:
    """Something a pass wants people to be able to read, e.g. why two nodes were not fused."""

    pass_name: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.pass_name}: {self.subject}: {self.text}"


@dataclasses.dataclass(slots=True)
class PassContext:
    """The target, the remarks collected so far, the memory plan once there is one, and sizes to specialise for.

    `fixed` are the only values that symbols may have which a pass put in the place of numbers.
    """

    target: Target = dataclasses.field(default_factory=host_target)
    remarks: list[Remark] = dataclasses.field(default_factory=list)
    memory: MemoryPlan | None = None
    bindings: dict[str, Dim] = dataclasses.field(default_factory=dict)  # symbols to compile for one size
    fixed: dict[str, int] = dataclasses.field(default_factory=dict)
    winograd: bool = True  # whether convolutions may take Winograd's form

    def remark(self, pass_name: str, subject: str, text: str) -> None:
        """Record a remark."""
        self.remarks.append(Remark(pass_name, subject, text))
