"""``python -m benchmarks.models NAME FOLDER``: bundles to measure with, random but for the head.

Filters are drawn with a fixed seed. The head is fitted by least squares to the discs of the picture, so
that masks have regions and margins as a trained network's have: a mask of noise would measure the
regions' step instead, and no reduced precision would agree with float32 on it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.data import CELLS, picture, volume
from segmodels.bundles.bundle import Bundle
from segmodels.bundles.card import Card, ChannelCard, ClassCard, NormaliseScale
from segmodels.bundles.write import write_bundle
from segmodels.methods.method import Linear

if TYPE_CHECKING:
    import keras

Array = npt.NDArray[np.float32]

#: Raised when a bundle changes, so that kept ones are made again.
VERSION = 3
FILTERS_2D = (32, 64, 128, 256, 512)
FILTERS_3D = (16, 32, 64, 128)
TILE_2D, OVERLAP_2D = 512, 0.25
TILE_3D, OVERLAP_3D = 96, 0.5
#: Side of the golden input.
GOLDEN = 128
#: Logits per class, as far as the fit reaches them.
MARGIN = 8.0
#: Share of their drawn size that the finest level's kernels keep, off their centre and for what comes from below.
AROUND, BELOW = 0.05, 0.05
SCALE = NormaliseScale(offset=128, divisor=64)

COLOURS = ("#d9d3c3", "#1f78b4", "#b2182b", "#4dac26")


def card(name: str, *, ndim: Literal[2, 3], classes: int, channels: int, **fields: Any) -> Card:
    """A card whose first class is a background without regions."""
    return Card(
        name=name,
        ndims=(ndim,),
        classes=tuple(
            ClassCard(name=f"class{i}", code=i, colour=COLOURS[i], region=i > 0) for i in range(classes)
        ),
        channels=tuple(ChannelCard(name=f"c{i}") for i in range(channels)),
        normalise=(SCALE,),
        licence="Apache-2.0",
        **fields,
    )


def noop(folder: Path) -> Bundle:
    """Nearly no arithmetic: one logit for two classes, an affine function of the first channel."""
    made = card("noop", ndim=2, classes=2, channels=3, activation="sigmoid", tile=(TILE_2D, TILE_2D))
    golden = np.linspace(-2, 2, 16 * 16 * 3, dtype=np.float32).reshape(1, 16, 16, 3)
    method = Linear(weights=((2.0, 0.0, 0.0),), bias=(0.25,))
    return write_bundle(folder, card=made, method=method, golden_input=golden)


def unet2d(folder: Path) -> Bundle:
    """The U-Net 32…512 with batch normalisation, 3 channels, 2 classes."""
    # All of the picture, since its ramps run from side to side.
    side = 32 * CELLS
    values = picture(range(side), side).transpose(1, 2, 0)
    truth = (values[..., 0] > 127).astype(np.int64)
    made = card("unet2d", ndim=2, classes=2, channels=3, tile=(TILE_2D,) * 2, overlap=OVERLAP_2D, stride=16)
    return _unet(folder, made, FILTERS_2D, values, truth)


def unet3d(folder: Path) -> Bundle:
    """A small 3-D U-Net with batch normalisation, 1 channel, 4 classes."""
    values = volume((64, 64, 64))[..., None]
    truth = np.clip(values[..., 0] // 64, 0, 3).astype(np.int64)
    made = card("unet3d", ndim=3, classes=4, channels=1, tile=(TILE_3D,) * 3, overlap=OVERLAP_3D, stride=8)
    return _unet(folder, made, FILTERS_3D, values, truth)


MAKERS = {"noop": noop, "unet2d": unet2d, "unet3d": unet3d}


def _unet(
    folder: Path, made: Card, filters: tuple[int, ...], values: npt.NDArray[Any], truth: npt.NDArray[np.int64]
) -> Bundle:
    import keras

    from segmodels.registry import build

    keras.utils.set_random_seed(7)
    x = ((values.astype(np.float32) - SCALE.offset) / SCALE.divisor)[None].astype(np.float32)
    model = build(
        "unet", channels=len(made.channels), classes=made.logits, ndim=made.ndims[0], filters=filters
    )
    _sharpen(model, filters[0])
    _set_norms(model, x)
    _fit_head(model, x, truth)
    corner = (slice(None), *(slice(GOLDEN),) * made.ndims[0])
    return write_bundle(folder, card=made, model=model, golden_input=np.ascontiguousarray(x[corner]))


def _set_norms(model: keras.Model, x: Array) -> None:
    """Gives batch normalisation the statistics of ``x``, and a scale and shift of its own."""
    import keras

    rng = np.random.default_rng(7)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.gamma.assign(rng.uniform(0.8, 1.2, layer.gamma.shape))
        layer.beta.assign(rng.normal(0, 0.1, layer.beta.shape))
        layer.momentum = 0.0
    model(x, training=True)
    for layer in norms:
        layer.momentum = 0.9


def _sharpen(model: keras.Model, width: int) -> None:
    """Lets the finest level look less around and less below, so that a linear head finds the picture."""
    for name in ("down0_conv1", "down0_conv2", "decode0_conv1", "decode0_conv2"):
        layer = model.get_layer(name)
        kernel, *rest = layer.get_weights()
        centre = (1,) * (kernel.ndim - 2)
        middle = kernel[centre].copy()
        kernel *= AROUND
        kernel[centre] = middle
        if name == "decode0_conv1":
            kernel[..., width:, :] *= BELOW
        layer.set_weights([kernel, *rest])


def _fit_head(model: keras.Model, x: Array, truth: npt.NDArray[np.int64]) -> None:
    import keras

    head = model.get_layer("logits")
    body = keras.Model(model.inputs, head.input)
    features = np.asarray(keras.ops.convert_to_numpy(body([x], training=False)), np.float64)
    flat = features.reshape(-1, features.shape[-1])
    flat = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
    k = np.arange(head.filters) - (head.filters - 1) / 2
    # Largest where k is the class, and linear in the class: what a linear head can fit.
    wanted = MARGIN * ((truth.reshape(-1, 1) + k[0]) * k - k**2 / 2)
    fitted, *_ = np.linalg.lstsq(flat, wanted, rcond=None)
    head.set_weights([fitted[:-1].reshape(head.kernel.shape), fitted[-1]])


def main() -> None:
    """Writes one bundle and prints where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(MAKERS))
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    made = MAKERS[asked.name](asked.folder)
    print(json.dumps({"bundle": str(made.path), "digest": made.digest}))


if __name__ == "__main__":
    main()
