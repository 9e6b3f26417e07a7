"""Architectures by name, each built with the same keywords.

Instance, panoptic and generative networks will be further tasks of the same table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import lcm
from typing import TYPE_CHECKING, Any, Literal

from segmodels.architectures.context_unet import context_unet
from segmodels.architectures.deeplab import deeplab
from segmodels.architectures.fcn import fcn
from segmodels.architectures.pspnet import pspnet
from segmodels.architectures.residual_unet import residual_unet
from segmodels.architectures.segnet import segnet
from segmodels.architectures.unet import unet
from segmodels.backbones import list_backbones as list_backbones

if TYPE_CHECKING:
    import keras

Task = Literal["semantic"]


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes:
        make: Its constructor.
        ndims: Numbers of spatial axes it can have; the first is the default.
        backbone: Whether it takes ``backbone=``.
        task: What its output means.
    """

    make: Callable[..., keras.Model]
    ndims: tuple[int, ...] = (2,)
    backbone: bool = False
    task: Task = "semantic"


ARCHITECTURES: dict[str, Architecture] = {
    "context_unet": Architecture(context_unet, (3, 2)),
    "deeplab_v3": Architecture(partial(deeplab, False), backbone=True),
    "deeplab_v3_plus": Architecture(partial(deeplab, True), backbone=True),
    "fcn16": Architecture(partial(fcn, 16), backbone=True),
    "fcn32": Architecture(partial(fcn, 32), backbone=True),
    "fcn8": Architecture(partial(fcn, 8), backbone=True),
    "pspnet": Architecture(pspnet, backbone=True),
    "residual_unet": Architecture(residual_unet, (2, 3)),
    "segnet": Architecture(segnet),
    "unet": Architecture(unet, (2, 3)),
}


def list_models(task: Task | None = None, ndim: int | None = None) -> list[str]:
    """Names that :func:`build` knows, sorted.

    Args:
        task: Only those for this task.
        ndim: Only those for this number of spatial axes.
    """
    return sorted(
        name
        for name, kind in ARCHITECTURES.items()
        if task in (None, kind.task) and (ndim is None or ndim in kind.ndims)
    )


def build(name: str, *, channels: int, classes: int, ndim: int | None = None, **options: Any) -> keras.Model:
    """Builds an architecture.

    Args:
        name: One of :func:`list_models`.
        channels: Input channels.
        classes: Output channels: one per class, or 1 for a sigmoid.
        ndim: Spatial axes; None takes the architecture's first.
        options: ``size``, ``norm``, ``dropout`` and ``name``, which all take; ``backbone``, ``width`` and
            ``weights``, where there is a backbone; and the architecture's own settings.

    Returns:
        A model of logits for images of any size, or of ``size``.

    Raises:
        ValueError: The name, the number of axes or an option is none of its.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"there is no architecture {name!r}; there are {', '.join(list_models())}")
    kind = ARCHITECTURES[name]
    axes = kind.ndims[0] if ndim is None else ndim
    if axes not in kind.ndims:
        able = ", ".join(list_models(ndim=axes)) or "none"
        raise ValueError(
            f"{name} has {_either(kind.ndims)} spatial axes, not {axes}; with {axes} there are: {able}"
        )
    if channels < 1 or classes < 1:
        raise ValueError(f"channels and classes are 1 or more, not {channels} and {classes}")
    taken = options_of(name)
    for option in options:
        if option not in taken:
            raise ValueError(f"{name} takes no option {option!r}; it takes {', '.join(taken)}")
    return kind.make(channels=channels, classes=classes, ndim=axes, **options)


def options_of(name: str) -> tuple[str, ...]:
    """The keywords of an architecture beside channels, classes and ndim, in their order."""
    from inspect import Parameter, signature

    parameters = signature(ARCHITECTURES[name].make).parameters
    return tuple(
        key
        for key, value in parameters.items()
        if value.kind is Parameter.KEYWORD_ONLY and key not in ("channels", "classes", "ndim")
    )


def strides(model: keras.Model) -> tuple[int, ...]:
    """Total stride of a model built here, one per spatial axis.

    Raises:
        ValueError: The model was built by something else.
    """
    from segmodels.layers.sizes import PadToStride

    for layer in model.layers:
        if isinstance(layer, PadToStride):
            return layer.stride
    raise ValueError(f"the model {model.name!r} was not built by segmodels, which alone keeps its stride")


def stride(model: keras.Model) -> int:
    """What every tile size and start is a multiple of (a card's ``stride``): for all axes together.

    Raises:
        ValueError: The model was built by something else.
    """
    return lcm(*strides(model))


def _either(ndims: tuple[int, ...]) -> str:
    return " or ".join(str(n) for n in sorted(ndims))
