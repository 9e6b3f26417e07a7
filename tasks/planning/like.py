"""What an image tells about a model that is made for it: channels, values, spacing, its middle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.importing.like import Like
from tasks.errors import InputError
from tasks.imagery.open import open_image
from tasks.imagery.wanted import Wanted
from tasks.planning.statistics import image_statistics


@contextmanager
def like_image(
    path: Path, *, channels: int | None = None, thresholds: tuple[float, ...] = ()
) -> Iterator[Like]:
    """Opens an image and reads its statistics in one pass; a series is seen by its first frame.

    Args:
        path: GeoTIFF or NIfTI.
        channels: That the model takes, if known.
        thresholds: Values above which normalisations look at values separately.

    Raises:
        InputError: It cannot be read, or has no valid pixel.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = open_image(path, scratch=Path(folder), wanted=Wanted(count=channels))
        try:
            info = image.info
            statistics = image_statistics(image, thresholds=thresholds)
            if not any(s.valid for s in statistics):
                raise InputError(f"{path} has no valid pixel (all nodata or NaN): give another image")
            spatial = tuple(n for n, axis in zip(info.shape, info.axes, strict=True) if axis != "t")
            frames = len(info.shape) - len(spatial)

            def middle(shape: tuple[int, ...]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
                sizes = [min(n, s) for n, s in zip(spatial, shape, strict=True)]
                starts = [(n - s) // 2 for n, s in zip(spatial, sizes, strict=True)]
                window = tuple(slice(a, a + s) for a, s in zip(starts, sizes, strict=True))
                pixels = image.read((*(slice(0, 1),) * frames, *window))
                values = pixels.values.reshape(*sizes, pixels.values.shape[-1])
                return values, pixels.valid.reshape(sizes)

            medical = info.field == "medical"
            yield Like(
                name=path.name,
                field=info.field,
                ndim=len(spatial),
                channels=info.channels,
                dtype=info.dtype,
                spacing=tuple(float(v) for v in info.grid["spacing"][-len(spatial) :]) if medical else None,
                statistics=statistics,
                middle=middle,
            )
        finally:
            image.close()
