"""A model made for one size of pixel makes a run on another suspect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rasterio.crs import CRS

from tasks.planning.make import other_spacing
from tests.tasks.conftest import ArrayImage

FOOT = 0.3048


@pytest.mark.parametrize(
    ("crs", "pixel", "said"),
    [
        ("EPSG:32632", 0.6, ""),
        ("EPSG:32632", 0.7, ""),
        ("EPSG:32632", 5.0, "pixels are 5 × 5 m (y, x) but model test was made for 0.6 × 0.6 m"),
        # a state plane in US feet
        ("EPSG:2263", 0.6 / FOOT, ""),
        # degrees have no one length
        ("EPSG:4326", 0.01, ""),
        (None, 1.0, ""),
    ],
)
def test_rasters(make_card: Callable[..., Any], crs: str | None, pixel: float, said: str) -> None:
    card = make_card(2, ndims=(2,), spacing=(0.6, 0.6))
    wkt = None if crs is None else CRS.from_string(crs).to_wkt()
    grid = {"crs": wkt, "transform": (pixel, 0.0, 0.0, 0.0, -pixel, 0.0)}
    info = replace(ArrayImage(np.zeros((4, 4, 1), np.uint8)).info, grid=grid)
    found = other_spacing(card, info)
    assert found == () if not said else found[0].startswith(said)


def test_volumes(make_card: Callable[..., Any]) -> None:
    card = make_card(2, ndims=(3,), spacing=(3.0, 1.0, 1.0))
    info = ArrayImage(np.zeros((4, 4, 4, 1), np.uint8)).info
    same, other = (replace(info, grid={"spacing": [z, 1.0, 1.1]}) for z in (3.2, 5.0))
    assert other_spacing(card, same) == ()
    (said,) = other_spacing(card, other)
    assert "resample the volume" in said
    assert "leave --spacing native out" in other_spacing(card, other, resample=False)[0]
    assert said.startswith("voxels are 5 × 1 × 1.1 mm (z, y, x) but model test was made for 3 × 1 × 1 mm")
