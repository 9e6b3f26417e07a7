"""Segmentation models for large images: arrays in, logits out.

Useful on its own: build and train an architecture, write it as a bundle, open a
bundle on any engine. Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmodels.bundles.bundle import Bundle, load_bundle, shipped_bundles
    from segmodels.bundles.card import Card
    from segmodels.bundles.write import write_bundle
    from segmodels.engines.base import Engine
    from segmodels.engines.opening import open_engine
    from segmodels.registry import build, list_backbones, list_models, stride

_HOMES = {
    "Bundle": "segmodels.bundles.bundle",
    "Card": "segmodels.bundles.card",
    "Engine": "segmodels.engines.base",
    "build": "segmodels.registry",
    "list_backbones": "segmodels.registry",
    "list_models": "segmodels.registry",
    "load_bundle": "segmodels.bundles.bundle",
    "open_engine": "segmodels.engines.opening",
    "shipped_bundles": "segmodels.bundles.bundle",
    "stride": "segmodels.registry",
    "write_bundle": "segmodels.bundles.write",
}

__all__ = [
    "Bundle",
    "Card",
    "Engine",
    "build",
    "list_backbones",
    "list_models",
    "load_bundle",
    "open_engine",
    "shipped_bundles",
    "stride",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segmodels' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
