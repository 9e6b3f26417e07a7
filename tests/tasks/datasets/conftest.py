"""Tiny data sets of every layout, made where a test wants them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine

NORTH_UP = Affine(2, 0, 500000, 0, -2, 5300000)


def save(path: Path, values: np.ndarray, **options: Any) -> Path:
    """A picture, a GeoTIFF or a volume, by its suffix; arrays are ``y x [c]`` or ``i j k [c]``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(values, options.get("affine", np.eye(4))), path)
    elif path.suffix == ".tif":
        bands = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
        profile = {"crs": "EPSG:32632", "transform": NORTH_UP, "photometric": "MINISBLACK"} | options
        with rasterio.open(
            path, "w", driver="GTiff", count=len(bands), height=bands.shape[1], width=bands.shape[2],
            dtype=bands.dtype, **profile,
        ) as f:  # fmt: skip
            f.write(bands)
    else:
        Image.fromarray(values).save(path)
    return path


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def make_pairs(tmp_path: Path, rng: np.random.Generator) -> Callable[..., Path]:
    """``images/`` + ``masks/`` of PNGs, grey, with three classes; keys go into ``dataset.json``."""

    def make(n: int = 4, *, shape: tuple[int, int] = (20, 30), **keys: Any) -> Path:
        root = tmp_path / "pairs"
        for i in range(n):
            save(root / "images" / f"p{i}.png", rng.integers(0, 256, shape).astype(np.uint8))
            mask = rng.integers(0, 3, shape).astype(np.uint8)
            save(root / "masks" / f"p{i}.png", mask)
        if keys:
            write_json(root / "dataset.json", keys)
        return root

    return make
