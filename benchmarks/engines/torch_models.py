"""The models in PyTorch. They give logits in training, where the loss takes them, and probabilities otherwise."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.workloads import CLASSES, WORKLOADS, Workload, workload_of


def build(name: str) -> nn.Module:
    """A new model of the workload `name`; images are (batch, channels, height, width)."""
    return _lstm(workload_of(name)) if workload_of(name).masks else _MODELS[name]()


class _Classifier(nn.Module):
    """Something that gives logits, and their softmax in inference."""

    def __init__(self, *logits: nn.Module) -> None:
        super().__init__()
        self.logits = nn.Sequential(*logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.logits(x)
        return logits if self.training else F.softmax(logits, -1)


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, filters: int, strides: int) -> None:
        super().__init__()
        self.first = _convolution(channels, filters, 3, strides)
        self.second = _convolution(filters, filters, 3)
        self.normalise_first, self.normalise_second = nn.BatchNorm2d(filters), nn.BatchNorm2d(filters)
        self.shortcut: nn.Module = nn.Identity()
        if strides != 1:
            self.shortcut = nn.Sequential(_convolution(channels, filters, 1, strides), nn.BatchNorm2d(filters))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.normalise_first(self.first(x)))
        return F.relu(self.normalise_second(self.second(y)) + self.shortcut(x))


class _Average(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def _convolution(channels: int, filters: int, size: int, strides: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, filters, size, strides, size // 2, groups=groups, bias=False)


def _normalised(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


def _mlp() -> nn.Module:
    return _Classifier(
        nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, CLASSES)
    )  # fmt: skip


def _cnn() -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for filters in (32, 64):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), nn.Conv2d(filters, filters, 3), nn.ReLU()]
        layers += [nn.MaxPool2d(2), nn.Dropout(0.25)]
        channels = filters
    dense = [nn.Linear(64 * 6 * 6, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, CLASSES)]
    return _Classifier(*layers, nn.Flatten(), *dense)


def _resnet20() -> nn.Module:
    layers = _normalised(_convolution(3, 16, 3))
    channels = 16
    for filters in (16, 32, 64):
        for _ in range(3):
            layers.append(_Residual(channels, filters, 1 if channels == filters else 2))
            channels = filters
    return _Classifier(*layers, _Average(), nn.Linear(64, CLASSES))


def _autoencoder() -> nn.Module:
    layers: list[nn.Module] = []
    for channels, filters in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(channels, filters, 3, 2, 1), nn.ReLU()]
    for channels, filters in ((128, 64), (64, 32)):
        layers += [nn.ConvTranspose2d(channels, filters, 3, 2, 1, output_padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(32, 3, 3, 2, 1, output_padding=1), nn.Sigmoid())


def _mobilenet() -> nn.Module:
    layers = _normalised(_convolution(3, 32, 3))
    channels = 32
    for filters, strides in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        layers += _normalised(_convolution(channels, channels, 3, strides, groups=channels))
        layers += _normalised(_convolution(channels, filters, 1))
        channels = filters
    return _Classifier(*layers, _Average(), nn.Linear(channels, CLASSES))


class _Recurrent(nn.Module):
    """An embedding, a recurrent layer, and a logit of its last state; in inference the probability.

    With `masks` the sequences are packed up to their padding, token 0. PyTorch takes none that is empty, so there the
    first step is a word.
    """

    def __init__(self, words: int, width: int, layer: nn.RNNBase, masks: bool = False) -> None:
        super().__init__()
        self.masks = masks
        self.embedding, self.layer = nn.Embedding(words, width), layer
        self.logit = nn.Linear(layer.hidden_size * (1 + layer.bidirectional), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        embedded = self.embedding(x)
        if self.masks:
            lengths = (x != 0).sum(1).clamp(min=1)
            embedded = nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        _, state = self.layer(embedded)
        last = state[0] if isinstance(state, tuple) else state  # (directions, batch, units)
        logit = self.logit(last.transpose(0, 1).flatten(1))
        return logit if self.training else torch.sigmoid(logit)


def _lstm(workload: Workload = WORKLOADS["lstm"]) -> nn.Module:
    return _Recurrent(workload.vocabulary, 128, nn.LSTM(128, 128, batch_first=True), workload.masks)


def _bigru() -> nn.Module:
    return _Recurrent(WORKLOADS["bigru"].vocabulary, 128, nn.GRU(128, 64, batch_first=True, bidirectional=True))


class _AverageOfSteps(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)


def _transformer() -> nn.Module:
    workload = WORKLOADS["transformer"]
    block = nn.TransformerEncoderLayer(128, 4, 512, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True)
    blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
    embedding = nn.Embedding(workload.vocabulary, 128)
    return _Classifier(embedding, blocks, _AverageOfSteps(), nn.Linear(128, workload.classes))


class _CausalBlock(nn.Module):
    """Attention to what came before and a fed-forward part, each normalised before it and added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projection, self.result = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.normalise_first, self.normalise_second = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.projection(self.normalise_first(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.result(attended.transpose(1, 2).flatten(2))
        return x + self.feed(self.normalise_second(x))


def _causal() -> nn.Module:
    workload = WORKLOADS["causal"]
    layers: list[nn.Module] = [nn.Embedding(workload.vocabulary, 256), *(_CausalBlock(256, 4) for _ in range(2))]
    return nn.Sequential(*layers, nn.LayerNorm(256, eps=1e-6), nn.Linear(256, workload.classes))


_MODELS: dict[str, Any] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "resnet20": _resnet20,
    "autoencoder": _autoencoder,
    "mobilenet": _mobilenet,
    "lstm": _lstm,
    "bigru": _bigru,
    "transformer": _transformer,
    "causal": _causal,
}
