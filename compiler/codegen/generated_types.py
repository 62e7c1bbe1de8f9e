"""What a generator of whole kernels offers: those of ops with `Fusion.GENERATED`, which share theirs with nothing."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar

from compiler.codegen.contraction_driver import Driver
from compiler.codegen.microkernel_tile import Tile
from compiler.ir import Op
from compiler.types import TensorType
from runtime.dimensions import Dim

__all__ = ["KernelGenerator"]


class KernelGenerator(abc.ABC):
    """The sizes and the driver of an op's kernels. Its operands are the op's inputs, then those results that are read.

    `dtype`: of its register tiles. A driver stores its results itself and serves all types of its op.
    """

    dtype: ClassVar[str] = "float32"

    @abc.abstractmethod
    def extents(self, op: Op, inputs: Sequence[TensorType], places: Mapping[int, int]) -> tuple[Dim, ...]:
        """The run-time extents, in the order in which the driver reads them; `places`: operands that results are."""

    @abc.abstractmethod
    def work(self, op: Op, inputs: Sequence[TensorType], tile: Tile) -> Dim:
        """The number of work items: a function of the shapes and the tile, never of the threads."""

    @abc.abstractmethod
    def scratch(self, op: Op, inputs: Sequence[TensorType], tile: Tile) -> Dim:
        """Bytes of scratch that one thread needs."""

    @abc.abstractmethod
    def driver(self, tile: Tile) -> Driver:
        """A native driver that computes one item at a time."""
