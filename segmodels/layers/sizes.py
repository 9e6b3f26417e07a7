"""Any input size: padded to a multiple of the stride inside the model, cropped back at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="segmodels")
class PadToStride(keras.layers.Layer):
    """Appends zeros until every spatial size is a multiple of the stride.

    Zeros are what convolutions pad with too. They come after the image, never before it, so that pixel (0, 0)
    keeps its place relative to the stride; where a size fits already nothing changes.

    Args:
        stride: One per spatial axis.
    """

    def __init__(self, stride: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.stride = tuple(int(s) for s in stride)

    def call(self, x: Any) -> Any:
        """``(batch, *spatial, channels)`` → the same, larger."""
        shape = ops.shape(x)[1:-1]
        if all(s == 1 for s in self.stride):
            return x
        # By a fixed amount, then cut: amounts that depend on the size would have to be known when tracing.
        x = ops.pad(x, ((0, 0), *((0, s - 1) for s in self.stride), (0, 0)))
        ends = [-(-n // s) * s for n, s in zip(shape, self.stride, strict=True)]
        return x[(slice(None), *(slice(0, end) for end in ends))]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Sizes that are known are rounded up."""
        spatial = [
            None if n is None else -(-n // s) * s for n, s in zip(input_shape[1:-1], self.stride, strict=True)
        ]
        return (input_shape[0], *spatial, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the layer."""
        return {**super().get_config(), "stride": list(self.stride)}


@keras.saving.register_keras_serializable(package="segmodels")
class CropToImage(keras.layers.Layer):
    """Ends a network: logits cropped to the size of the image, at full scale or at a coarser one.

    Args:
        scale: Pixels of the image per logit, one per spatial axis; the size is rounded up.
        weight: What this output weighs in a training's loss.
    """

    def __init__(self, scale: Sequence[int], weight: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.scale = tuple(int(s) for s in scale)
        self.weight = float(weight)

    def call(self, inputs: Sequence[Any]) -> Any:
        """``[logits, image]`` → logits of ``ceil(image / scale)`` pixels."""
        x, image = inputs
        ends = [-(-n // s) for n, s in zip(ops.shape(image)[1:-1], self.scale, strict=True)]
        return x[(slice(None), *(slice(0, end) for end in ends))]

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """The image's sizes over the scale, the logits' channels."""
        x, image = input_shape
        spatial = [None if n is None else -(-n // s) for n, s in zip(image[1:-1], self.scale, strict=True)]
        return (x[0], *spatial, x[-1])

    def get_config(self) -> dict[str, Any]:
        """Settings that rebuild the layer."""
        return {**super().get_config(), "scale": list(self.scale), "weight": self.weight}
