"""Models with several outputs while they train: deep supervision, auxiliary heads.

``build(..., deep_supervision=True)`` and ``build("pspnet", ..., auxiliary=True)`` give a list of logits. The
first is the one that counts; each has a scale and a weight, which are kept in the model itself. A bundle and
an engine hold the plain model, whose one output is the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Output:
    """One output of a model.

    Attributes:
        scale: Pixels of the image per logit, one per spatial axis.
        weight: What it weighs in the loss.
    """

    scale: tuple[int, ...]
    weight: float


def outputs(model: keras.Model) -> tuple[Output, ...]:
    """The outputs of a model in order; of a model that does not say, full scale and weight 1."""
    from segmodels.layers.sizes import CropToImage

    found = []
    for tensor in model.outputs:
        layer = tensor._keras_history.operation
        if isinstance(layer, CropToImage):
            found.append(Output(layer.scale, layer.weight))
        else:
            found.append(Output((1,) * (len(tensor.shape) - 2), 1.0))
    return tuple(found)


def targets(labels: npt.NDArray[Any], model: keras.Model) -> list[npt.NDArray[Any]]:
    """Labels for each output: of every cell of its scale the first pixel's, so that no label is made up.

    Args:
        labels: ``(batch, *spatial)``, integers.
        model: A model.

    Returns:
        One array per output, ``(batch, *ceil(spatial / scale))``.
    """
    return [
        np.ascontiguousarray(labels[(slice(None), *(slice(None, None, s) for s in output.scale))])
        for output in outputs(model)
    ]


def loss_weights(model: keras.Model) -> list[float]:
    """What ``compile(loss_weights=…)`` takes, one per output."""
    return [output.weight for output in outputs(model)]


def plain(model: keras.Model) -> keras.Model:
    """The model with its first output alone; the layers, and so the weights, are shared."""
    import keras

    if len(getattr(model, "outputs", None) or ()) < 2:
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
