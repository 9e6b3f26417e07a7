"""Architectures by name, each built with the same keywords."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from segmodels.architectures.context_unet import context_unet
from segmodels.architectures.unet import unet

if TYPE_CHECKING:
    import keras

_ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {"context_unet": context_unet, "unet": unet}


def list_models() -> list[str]:
    """Names that :func:`build` knows, sorted."""
    return sorted(_ARCHITECTURES)


def build(name: str, *, channels: int, classes: int, **options: Any) -> keras.Model:
    """Builds an architecture.

    Args:
        name: One of :func:`list_models`.
        channels: Input channels.
        classes: Output channels: one per class, or 1 for a sigmoid.
        options: The architecture's own settings.

    Raises:
        ValueError: The name is unknown.
    """
    if name not in _ARCHITECTURES:
        raise ValueError(f"there is no architecture {name!r}; there are {', '.join(list_models())}")
    return _ARCHITECTURES[name](channels=channels, classes=classes, **options)
