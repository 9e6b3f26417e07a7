"""The same U-Net in torch, with the weights of the Keras model; needs torch and numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

#: Keras' default, which is not torch's.
EPSILON = 1e-3


class Level(nn.Sequential):
    """Twice convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, width: int) -> None:
        layers: list[nn.Module] = []
        for before in (inputs, width):
            layers += [
                nn.Conv2d(before, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width, eps=EPSILON),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """``(n, channels, h, w)`` to ``(n, logits, h, w)``; see ``segmodels.architectures.unet``."""

    def __init__(self, channels: int, logits: int, filters: tuple[int, ...]) -> None:
        super().__init__()
        inputs = (channels, *filters[:-2])
        self.down = nn.ModuleList(Level(a, b) for a, b in zip(inputs, filters[:-1], strict=True))
        self.bottleneck = Level(filters[-2], filters[-1])
        pairs = list(pairwise(filters))
        self.up = nn.ModuleList(nn.ConvTranspose2d(below, width, 2, stride=2) for width, below in pairs)
        self.decode = nn.ModuleList(Level(2 * width, width) for width, _ in pairs)
        self.head = nn.Conv2d(filters[0], logits, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for i in reversed(range(len(skips))):
            x = self.decode[i](torch.cat([skips[i], self.up[i](x)], dim=1))
        return self.head(x)


def from_keras(weights: Mapping[str, Any]) -> UNet:
    """The network with the weights that :mod:`benchmarks.peers.export` wrote."""
    count = sum(name.startswith("down") and name.endswith("_conv1/0") for name in weights)
    filters = [weights[f"down{i}_conv1/0"].shape[-1] for i in range(count)]
    filters.append(weights["bottleneck_conv1/0"].shape[-1])
    head = weights["logits/0"]
    model = UNet(weights["down0_conv1/0"].shape[-2], head.shape[-1], tuple(filters)).eval()
    levels = {f"down{i}": model.down[i] for i in range(count)}
    levels |= {f"decode{i}": model.decode[i] for i in range(count)}
    for label, level in {**levels, "bottleneck": model.bottleneck}.items():
        for i in (0, 1):
            _set(level[3 * i].weight, _kernel(weights[f"{label}_conv{i + 1}/0"]))
            norm = level[3 * i + 1]
            targets = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            for k, target in enumerate(targets):
                _set(target, weights[f"{label}_norm{i + 1}/{k}"])
    for i in range(count):
        _set(model.up[i].weight, _kernel(weights[f"up{i}/0"]))
        _set(model.up[i].bias, weights[f"up{i}/1"])
    _set(model.head.weight, _kernel(head))
    _set(model.head.bias, weights["logits/1"])
    return model


def _kernel(values: Any) -> Any:
    """Keras has (height, width, in, out), transposed (height, width, out, in); torch the reverse of both."""
    return np.ascontiguousarray(values.transpose(3, 2, 0, 1))


def _set(target: Any, values: Any) -> None:
    if tuple(target.shape) != values.shape:
        raise ValueError(f"a weight has shape {values.shape}, and torch wants {tuple(target.shape)}")
    with torch.no_grad():
        target.copy_(torch.from_numpy(values))
