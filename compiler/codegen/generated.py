"""The table of ops with kernels of their own, by name."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.codegen.attention import AttentionGenerator
from compiler.codegen.attention_gradient import AttentionGradientGenerator
from compiler.codegen.generated_types import KernelGenerator

__all__ = ["GENERATED"]

GENERATED: Mapping[str, KernelGenerator] = {
    "attention_kernel": AttentionGenerator(),
    "attention_gradient_kernel": AttentionGradientGenerator(),
}
