"""PyTorch, eager or compiled: channels-last images, fused Adam, the plain loop that its tutorials show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.engines import torch_generation
from benchmarks.engines.engine import Engine, Step
from benchmarks.engines.torch_models import build
from benchmarks.workloads import ATTENTION_WARM_UP, Array, AttentionWorkload, KernelWorkload, Task, Workload


def tensor(array: Array) -> torch.Tensor:
    """A tensor of the same numbers; images (n, h, w, c) become channels-last (n, c, h, w)."""
    result = torch.from_numpy(array)
    if result.ndim != 4:
        return result
    return result.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


class TorchEngine(Engine):
    """`mode`: "eager" or "compile"."""

    modules = ("torch",)

    def __init__(self, threads: int, mode: str) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.mode = mode

    def prepare(self, task: Task) -> Step:
        """A training step, a forward pass in inference mode, or one call of matmul or conv2d (oneDNN)."""
        self.steps_in_a_call = 1
        if task.kind == "kernel":
            return _kernel(task.kernel)
        if task.kind == "attention":
            return _attention(task.attention)
        torch._dynamo.reset()
        if task.kind == "generate":
            self.steps_in_a_call = task.generation.new
            return torch_generation.prepare(task.generation, self.mode == "compile")
        model = build(task.name)
        x = tensor(task.workload.inputs(task.batch))
        if x.ndim == 4:
            model = model.to(memory_format=torch.channels_last)
        return self._training(model, x, task) if task.kind == "train" else self._inference(model.eval(), x)

    def _forward(self, model: torch.nn.Module) -> Any:
        return torch.compile(model, dynamic=False) if self.mode == "compile" else model

    def _training(self, model: torch.nn.Module, x: torch.Tensor, task: Task) -> Step:
        y, loss_of = _targets(task.workload, task.batch), _LOSSES[task.workload.target]
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        forward = self._forward(model)

        def step() -> float:
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(forward(x), y)
            loss.backward()
            optimizer.step()
            return float(loss.item())

        return step

    def _inference(self, model: torch.nn.Module, x: torch.Tensor) -> Step:
        forward = self._forward(model)
        return _without_gradients(lambda: forward(x))


def _targets(workload: Workload, batch: int) -> torch.Tensor:
    """Class numbers and tokens as they are, images and binary labels as numbers."""
    if workload.target in ("image", "binary"):
        return tensor(workload.targets(batch))
    return torch.from_numpy(workload.labels(batch))


def _cross_entropy_of_tokens(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())


_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "class": F.cross_entropy,
    "image": F.mse_loss,
    "binary": F.binary_cross_entropy_with_logits,
    "token": _cross_entropy_of_tokens,
}


def _kernel(kernel: KernelWorkload) -> Step:
    left, right = kernel.operands()
    if kernel.is_matmul:
        a, b = torch.from_numpy(left), torch.from_numpy(right)
        return _without_gradients(lambda: a @ b)
    x = tensor(left)
    weight = torch.from_numpy(right).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return _without_gradients(lambda: F.conv2d(x, weight, padding=1))


def _attention(attention: AttentionWorkload) -> Step:
    """PyTorch's fused attention; it takes (batch, heads, length, depth)."""

    def step(operands: list[Array]) -> object:
        query, key, value, cotangent = (torch.from_numpy(operand).transpose(1, 2) for operand in operands)
        parts = [part.detach().requires_grad_() for part in (query, key, value)]
        result = F.scaled_dot_product_attention(*parts, is_causal=True)
        result.backward(cotangent)
        return result, [part.grad for part in parts]

    step(attention.operands(ATTENTION_WARM_UP))
    operands = attention.operands(attention.length)
    return lambda: step(operands)


def _without_gradients(call: Callable[[], torch.Tensor]) -> Step:
    def step() -> torch.Tensor:
        with torch.inference_mode():
            return call()

    return step


def make(threads: int, variant: str) -> TorchEngine:
    """The engine in the mode `variant`."""
    return TorchEngine(threads, variant)
