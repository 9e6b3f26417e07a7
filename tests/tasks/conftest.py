"""An image in memory, behind the protocol that files have, and bundles whose logits are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from segmodels.bundles.card import Card, ChannelCard, ClassCard
from tasks.errors import InputError
from tasks.imagery.protocol import ImageInfo, Pixels, Window
from tasks.imagery.source import Source


class ArrayImage:
    """``values`` is ``(*spatial, channels)``; ``bad`` marks pixels whose storage is corrupt."""

    def __init__(
        self,
        values: npt.NDArray[Any],
        *,
        valid: npt.NDArray[np.bool_] | None = None,
        wraps: bool = False,
        bad: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.values = values
        self.valid = np.ones(values.shape[:-1], bool) if valid is None else valid
        self.bad = bad
        axes = ("t", "z", "y", "x")[-(values.ndim - 1) :]
        self.info = ImageInfo(
            source=Source.of(Path("memory.tif")),
            format="geotiff" if len(axes) == 2 else "nifti",
            kind="raster" if len(axes) == 2 else "volume",
            field="earth" if len(axes) == 2 else "medical",
            shape=values.shape[:-1],
            axes=axes,
            channels=tuple(f"band{i + 1}" for i in range(values.shape[-1])),
            dtype=values.dtype.name,
            wraps=(False,) * (len(axes) - 1) + (wraps,),
            chunk=(1,) * (len(axes) - 1) + (values.shape[-2],),
            nodata=None,
            grid={"crs": None, "transform": (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)},
        )

    def read(self, window: Window) -> Pixels:
        if self.bad is not None and self.bad[window].any():
            raise InputError("memory.tif is corrupt there")
        return Pixels(self.values[window], self.valid[window])

    def close(self) -> None: ...


class FunctionEngine:
    """Logits by a function of one tile ``(*tile, channels)``."""

    name, precision, library = "method", "float32", "function 1"

    def __init__(self, function: Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]) -> None:
        self.function = function
        self.tiles = 0

    def logits(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.tiles += len(batch)
        return np.stack([self.function(x) for x in batch]).astype(np.float32)


@pytest.fixture(scope="session")
def array_image() -> type[ArrayImage]:
    return ArrayImage


@pytest.fixture(scope="session")
def function_engine() -> type[FunctionEngine]:
    return FunctionEngine


@pytest.fixture(scope="session")
def make_card() -> Callable[..., Card]:
    def make(classes: int = 3, *, channels: int = 1, ndims: tuple[int, ...] = (2, 3), **fields: Any) -> Card:
        fields.setdefault("tile", (8,) * max(ndims))
        return Card(
            name="test",
            ndims=ndims,
            classes=tuple(ClassCard(name=f"class{i}", code=i, colour=f"#{i:06x}") for i in range(classes)),
            channels=tuple(ChannelCard(name=f"c{i}") for i in range(channels)),
            **fields,
        )

    return make
