"""Which backbones there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segmodels.backbones import applications, plain
from segmodels.backbones.scaling import Dilation

if TYPE_CHECKING:
    import keras

    from segmodels.architectures.parts import Norm

Weights = str | Path | None
Features = tuple["keras.KerasTensor", ...]


def list_backbones() -> list[str]:
    """Names that ``backbone=`` takes, sorted."""
    return sorted([*applications.SOURCES, "plain"])


def backbone_features(
    name: str,
    x: keras.KerasTensor,
    *,
    output_stride: int = 32,
    width: float = 1.0,
    norm: Norm = "batch",
    weights: Weights = None,
) -> Features:
    """Appends a backbone to ``x``.

    Args:
        name: One of :func:`list_backbones`.
        x: Image ``(batch, h, w, channels)``, any number of channels, sizes that are multiples of the stride.
        output_stride: 32, or 16 or 8 for a dilated one.
        width: Factor of all widths.
        norm: Replaces the backbone's batch norm; VGG, which has none, gets it behind every convolution.
        weights: A file of ImageNet weights as keras.applications saves them without the top; see
            :func:`segmodels.backbones.weights.inflate` for channels other than three.

    Returns:
        C1…C5, each the last features of its stride (of a VGG: behind the pooling).

    Raises:
        ValueError: There is no such backbone, or the options do not fit it.
    """
    if name not in list_backbones():
        raise ValueError(f"there is no backbone {name!r}; choose of {', '.join(list_backbones())}")
    dilation = Dilation(output_stride)
    if width <= 0:
        raise ValueError(f"width is a factor above 0, not {width}")
    if name == "plain":
        if weights is not None:
            raise ValueError("the backbone 'plain' has no ImageNet weights; leave weights out")
        return plain.features(x, dilation=dilation, width=width, norm=norm)
    if weights is not None and (width != 1 or norm not in ("batch", "none")):
        raise ValueError(
            "ImageNet weights fit a backbone of width 1 and its own norm; leave width and norm out"
        )
    return applications.features(name, x, dilation=dilation, width=width, norm=norm, weights=weights)
