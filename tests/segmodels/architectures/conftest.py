"""Narrow variants of every architecture: the same code as at full width, in a fraction of the time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

#: Options of each variant; the architecture is the first word of its name.
NARROW: dict[str, dict[str, Any]] = {
    "context_unet": {"filters": (4, 6, 8), "surroundings": 4, "ndim": 2},
    "context_unet 3-D": {"filters": (4, 6, 8), "surroundings": 4, "ndim": 3},
    "deeplab_v3 resnet50": {"backbone": "resnet50", "width": 1 / 16},
    "deeplab_v3_plus mobilenet_v2": {"backbone": "mobilenet_v2", "width": 1 / 8},
    "deeplab_v3_plus plain": {"backbone": "plain", "width": 1 / 16},
    "fcn16 plain": {"backbone": "plain", "width": 1 / 32},
    "fcn32 plain": {"backbone": "plain", "width": 1 / 32},
    "fcn8 vgg16": {"width": 1 / 32},
    "pspnet plain": {"backbone": "plain", "width": 1 / 16, "auxiliary": True},
    "residual_unet": {"filters": (4, 6, 8), "blocks": (1, 2, 1), "deep_supervision": True},
    "residual_unet 3-D": {
        "ndim": 3,
        "filters": (4, 4, 6, 8),
        "blocks": (1, 1, 1, 1),
        "kernels": ((1, 3, 3), (1, 3, 3), 3, 3),
        "strides": (1, (1, 2, 2), (2, 2, 2), (1, 2, 2)),
        "deep_supervision": True,
        "attention": "gate",
    },
    "segnet": {"filters": (4, 6, 8), "convolutions": (2, 2, 1)},
    "unet": {"filters": (4, 6, 8)},
    "unet 3-D": {"filters": (4, 6, 8), "ndim": 3, "norm": "group"},
    "unet gate": {"filters": (4, 6, 8), "attention": "gate"},
    "unet scse": {"filters": (4, 6, 8), "attention": "scse"},
}

Builder = Callable[..., Any]


@pytest.fixture(scope="session")
def variants() -> dict[str, dict[str, Any]]:
    """The table of variants."""
    return NARROW


@pytest.fixture(scope="session")
def narrow() -> Builder:
    """A variant by name, built once and not to be trained; its running statistics are as after a training."""

    @cache
    def make(variant: str, *, channels: int = 1, classes: int = 3) -> Any:
        import keras

        from segmodels.registry import build

        keras.utils.set_random_seed(sum(map(ord, variant)))
        model = build(variant.split()[0], channels=channels, classes=classes, **NARROW[variant])
        rng = np.random.default_rng(0)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.moving_mean.assign(rng.normal(0, 0.1, layer.moving_mean.shape))
                layer.moving_variance.assign(rng.uniform(0.5, 1.5, layer.moving_variance.shape))
        return model

    return make


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every variant for a test that names ``variant``."""
    chosen = any("variant" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "variant" in metafunc.fixturenames and not chosen:
        # Deep backbones take seconds to build at any width.
        slow = [v for v in sorted(NARROW) if v.endswith(("resnet50", "mobilenet_v2"))]
        quick = [v for v in sorted(NARROW) if v not in slow]
        metafunc.parametrize("variant", [*quick, *(pytest.param(v, marks=pytest.mark.slow) for v in slow)])
