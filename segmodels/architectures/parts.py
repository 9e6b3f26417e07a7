"""What the networks are made of: an image of any size at one end, logits of its size at the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import keras

Norm = Literal["batch", "group", "instance", "none"]
Activation = Literal["relu", "leaky_relu", "none"]
#: Running statistics must arrive in a short training, which Keras' own 0.99 prevents.
MOMENTUM = 0.9


def per_axis(value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """One number per spatial axis.

    Raises:
        ValueError: There are neither one nor ``ndim`` positive numbers.
    """
    several = (value,) * ndim if isinstance(value, int) else tuple(int(v) for v in value)
    if len(several) != ndim or min(several) < 1:
        raise ValueError(f"{value} should be one positive number, or {ndim} of them, one per spatial axis")
    return several


@dataclass(frozen=True)
class Parts:
    """Layers of a network of ``ndim`` spatial axes that normalises its features by ``norm``.

    ``batch`` uses running statistics at prediction, so that a tile's result depends on its receptive field
    alone; ``group`` (at most 8 groups) and ``instance`` use the whole tile's, and suit batches of one or two.
    """

    ndim: int
    norm: Norm = "batch"

    def __post_init__(self) -> None:
        if self.ndim not in (2, 3):
            raise ValueError(f"ndim is the number of spatial axes, 2 or 3, not {self.ndim}")
        if self.norm not in get_args(Norm):
            raise ValueError(f"there is no norm {self.norm!r}; choose of {', '.join(get_args(Norm))}")

    def layer(self, kind: str) -> Any:
        """The Keras layer ``kind`` for this number of axes: ``Conv``, ``ConvTranspose``, ``MaxPooling``."""
        from keras import layers

        head, tail = (
            (kind.removesuffix("Transpose"), "Transpose") if kind.endswith("Transpose") else (kind, "")
        )
        return getattr(layers, f"{head}{self.ndim}D{tail}")

    def start(
        self, channels: int, size: Sequence[int | None] | None, stride: int | Sequence[int]
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """The input, and the same padded to a multiple of the stride.

        Raises:
            ValueError: The size has another number of axes, or is below 1.
        """
        import keras

        from segmodels.layers.sizes import PadToStride

        shape = tuple(size) if size is not None else (None,) * self.ndim
        if len(shape) != self.ndim or any(n is not None and n < 1 for n in shape):
            raise ValueError(
                f"size {shape} should have {self.ndim} numbers above 0, or None where any will do"
            )
        image = keras.Input((*shape, channels), name="image")
        return image, PadToStride(per_axis(stride, self.ndim), name="pad")(image)

    def finish(
        self,
        image: keras.KerasTensor,
        logits: keras.KerasTensor,
        *,
        auxiliary: Sequence[tuple[keras.KerasTensor, Sequence[int], float]] = (),
        weight: float = 1.0,
        name: str,
    ) -> keras.Model:
        """The model, its logits cropped to the image.

        Args:
            image: The input.
            logits: Logits of the padded image.
            auxiliary: Further outputs for training: logits, pixels of the image per logit and axis, weight.
            weight: Weight of ``logits`` in a training's loss.
            name: Name of the model.
        """
        import keras

        from segmodels.layers.sizes import CropToImage

        # Float32 even under a mixed policy: blending and losses need whole logits.
        outputs = [CropToImage((1,) * self.ndim, weight, dtype="float32", name="crop")([logits, image])]
        for i, (coarse, scale, share) in enumerate(auxiliary, start=1):
            crop = CropToImage(scale, share, dtype="float32", name=f"auxiliary{i}")
            outputs.append(crop([coarse, image]))
        return keras.Model(image, outputs if auxiliary else outputs[0], name=name)

    def convolve(
        self,
        x: keras.KerasTensor,
        width: int,
        stage: str,
        part: int | str = 1,
        *,
        kernel: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        dilation: int = 1,
        activation: Activation = "relu",
    ) -> keras.KerasTensor:
        """Convolution, norm, activation; the layers are named ``{stage}_conv{part}`` and so on."""
        x = self.layer("Conv")(
            width,
            kernel,
            strides=stride,
            dilation_rate=dilation,
            padding="same",
            use_bias=self.norm == "none",
            kernel_initializer="he_normal",
            name=f"{stage}_conv{part}",
        )(x)
        x = self.normalise(x, f"{stage}_norm{part}")
        return self.activate(x, f"{stage}_relu{part}", activation)

    def normalise(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """The norm; nothing for ``none``."""
        norm = norm_layer(self.norm, int(x.shape[-1]), name)
        return x if norm is None else norm(x)

    def activate(self, x: keras.KerasTensor, name: str, activation: Activation = "relu") -> keras.KerasTensor:
        """The activation; nothing for ``none``."""
        from keras import layers

        return x if activation == "none" else layers.Activation(activation, name=name)(x)

    def drop(self, x: keras.KerasTensor, rate: float, name: str = "dropout") -> keras.KerasTensor:
        """Dropout; nothing for a rate of 0."""
        from keras import layers

        return layers.Dropout(rate, name=name)(x) if rate else x

    def head(self, x: keras.KerasTensor, classes: int, name: str = "logits") -> keras.KerasTensor:
        """A 1 × 1 convolution to logits, float32."""
        return self.layer("Conv")(classes, 1, dtype="float32", name=name)(x)

    def resize(
        self, x: keras.KerasTensor, like: keras.KerasTensor, name: str, *, exact: bool = False
    ) -> keras.KerasTensor:
        """``x`` bilinearly at the spatial size of ``like``; in float32 if ``exact``."""
        from segmodels.layers.resampling import ResizeLike

        return ResizeLike(name=name, dtype="float32" if exact else None)([x, like])


def norm_layer(norm: Norm, width: int, name: str) -> Any:
    """A norm for ``width`` channels, or None for ``none``."""
    from keras import layers

    if norm == "batch":
        return layers.BatchNormalization(momentum=MOMENTUM, name=name)
    if norm == "group":
        groups = next(g for g in range(min(8, width), 0, -1) if width % g == 0)
        return layers.GroupNormalization(groups, name=name)
    if norm == "instance":
        return layers.GroupNormalization(-1, name=name)
    return None
