"""Bundles of the classical methods, for any number of channels; none needs training."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from segmodels.bundles.bundle import Bundle
from segmodels.bundles.card import (
    Card,
    ChannelCard,
    ClassCard,
    Normalise,
    NormaliseNone,
    NormaliseZScore,
    SeamLimits,
    Training,
)
from segmodels.bundles.write import write_bundle
from segmodels.errors import BundleError
from segmodels.methods.base import FittedMethod
from segmodels.methods.clusters import KMeans, Slic
from segmodels.methods.contour import ChanVese
from segmodels.methods.edges import Canny, Sobel
from segmodels.methods.grow import RandomWalker, RegionGrowing, Watershed
from segmodels.methods.names import CLASSICAL
from segmodels.methods.thresholds import Otsu

_DARK_TO_BRIGHT = ("#30123b", "#28bbec", "#a4fc3c", "#fb7e21", "#7a0403")
_ZSCORE = NormaliseZScore()
_TWO = ("#d9d3c3", "#1f78b4")


@dataclass(frozen=True)
class Recipe:
    """How a named method becomes a bundle.

    Attributes:
        make: The method's class.
        says: What it does, a sentence.
        classes: Names of its two classes; of clusters, the prefix of their names alone.
        normalise: What its numbers are measured in.
        ndims: Axes.
        defaults: Where they differ from the method's own.
    """

    make: Callable[..., FittedMethod]
    says: str
    classes: tuple[str, ...] = ("dark", "bright")
    normalise: Normalise = _ZSCORE
    ndims: tuple[int, ...] = (2, 3)
    defaults: tuple[tuple[str, Any], ...] = ()


RECIPES: dict[str, Recipe] = {
    "otsu": Recipe(
        Otsu, "Two classes by Otsu's threshold of the image's own histogram.", normalise=NormaliseNone()
    ),
    "multi-otsu": Recipe(
        Otsu,
        "Several classes by Otsu's thresholds of the image's own histogram.",
        ("level",),
        NormaliseNone(),
        defaults=(("classes", 3),),
    ),
    "kmeans": Recipe(
        KMeans, "Clusters of pixel values over all channels, by k-means.", ("cluster",), NormaliseNone()
    ),
    "region-growing": Recipe(
        RegionGrowing, "Bright regions grown from sure pixels, or from seeds of one's own."
    ),
    "watershed": Recipe(Watershed, "Watershed of the gradient between sure dark and sure bright pixels."),
    "sobel": Recipe(Sobel, "Edges where the Sobel gradient exceeds a level.", ("flat", "edge")),
    "canny": Recipe(
        Canny, "Canny's edges; of a volume, slice by slice.", ("flat", "edge"), NormaliseZScore(), (2,)
    ),
    "slic": Recipe(Slic, "SLIC superpixels, each in the k-means cluster of its mean.", ("cluster",)),
    "chan-vese": Recipe(
        ChanVese,
        "Active contour without edges (Chan-Vese), begun at Otsu's threshold.",
        ("outside", "inside"),
    ),
    "random-walker": Recipe(RandomWalker, "Random walker between sure dark and sure bright pixels."),
}


def make_classical(
    name: str,
    directory: str | Path,
    *,
    channels: Sequence[str],
    options: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Writes the bundle of a classical method.

    Args:
        name: One of :data:`segmodels.methods.names.CLASSICAL`.
        directory: The bundle's folder.
        channels: Names of the image's channels, in order.
        options: Fields of the method, ``classes`` and ``channel`` among them.
        overwrite: Whether an existing bundle is replaced.

    Raises:
        BundleError: An unknown name or option, or a value that cannot be.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, CLASSICAL, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise BundleError(f"There is no method {name!r}: {guess}there are {', '.join(CLASSICAL)}.")
    recipe = RECIPES[name]
    method = _method(name, recipe, dict(recipe.defaults) | (options or {}))
    try:
        card = _card(name, recipe, method, channels)
    except ValidationError as error:
        raise BundleError(
            f"A card of {name} cannot be made: {error.errors()[0]['msg']}; correct the options."
        ) from error
    return write_bundle(
        directory, card=card, method=method, golden_input=_golden(len(channels)), overwrite=overwrite
    )


def _method(name: str, recipe: Recipe, options: dict[str, Any]) -> FittedMethod:
    fields = [f for f in getattr(recipe.make, "model_fields", {}) if f not in ("kind", "scope")]
    for option in options:
        if option not in fields:
            near = difflib.get_close_matches(option, fields, n=1)
            guess = f"did you mean {near[0]}? " if near else ""
            raise BundleError(f"{name} has no option {option!r}: {guess}it has {', '.join(fields)}.")
    try:
        return recipe.make(**options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its options"
        raise BundleError(f"{name} refuses {where}: {first['msg']}; give another value.") from error


def _card(name: str, recipe: Recipe, method: FittedMethod, channels: Sequence[str]) -> Card:
    names = recipe.classes
    if len(names) == 1:
        names = tuple(f"{names[0]}{k + 1}" for k in range(method.count))
    reach = {
        "pixel": "Exact in tiles of any size.",
        "neighbourhood": "Exact in tiles, which overlap by what a pixel looks at.",
        "image": "Needs the whole image at once.",
    }[method.reach]
    return Card(
        name=name,
        description=f"{recipe.says} {reach} No training, no accuracy claimed.",
        ndims=recipe.ndims,
        classes=tuple(
            ClassCard(name=n, code=k, colour=_colour(k, len(names)), region=k > 0)
            for k, n in enumerate(names)
        ),
        channels=tuple(ChannelCard(name=c) for c in channels),
        normalise=(recipe.normalise,),
        tile=(512, 512) if recipe.ndims == (2,) else (16, 512, 512),
        padding="edge",
        # At a tile's own edge a neighbourhood is cut off; the mask is taken from further inside.
        seams=SeamLimits(other_class=1, difference=1) if method.reach == "neighbourhood" else SeamLimits(),
        blend="crop",
        licence="Apache-2.0",
        training=Training(data="none: fitted to each image", command=f"segflow models make {name}"),
    )


def _colour(k: int, count: int) -> str:
    if count == 2:
        return _TWO[k]
    at = k / (count - 1) * (len(_DARK_TO_BRIGHT) - 1)
    low = min(int(at), len(_DARK_TO_BRIGHT) - 2)
    pair = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in _DARK_TO_BRIGHT[low : low + 2]]
    return "#" + "".join(f"{round(a + (b - a) * (at - low)):02x}" for a, b in zip(*pair, strict=True))


def _golden(channels: int) -> npt.NDArray[np.float32]:
    """A disc and a bar on a slope, with a texture no two pixels of which are alike."""
    y, x = np.mgrid[:32, :32].astype(np.float64)
    shape = 2.0 * ((y - 10) ** 2 + (x - 11) ** 2 < 36) + 1.2 * ((y > 20) & (y < 26))
    texture = 0.3 * np.sin(1.7 * y + 0.9 * x) + 0.01 * x - 0.5
    planes = [shape / (1 + c) + texture * (1 + 0.1 * c) for c in range(channels)]
    return np.ascontiguousarray(np.stack(planes, axis=-1)[None], np.float32)
