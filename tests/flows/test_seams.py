"""The command's record of its seams."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio


def test_a_per_pixel_model_agrees_with_itself_and_blocks_do_not_matter(
    tmp_path: Path, segflow: Any, make_bundle: Callable[..., Path]
) -> None:
    image, bundle = tmp_path / "scene.tif", make_bundle(overlap=0.25)
    profile = {"driver": "GTiff", "height": 150, "width": 180, "count": 1, "dtype": "float32"}
    with rasterio.open(image, "w", transform=rasterio.Affine(1, 0, 0, 0, -1, 0), **profile) as file:
        file.write(np.random.default_rng(0).random((1, 150, 180)).astype(np.float32))
    found = []
    for name, block in (("small", 64), ("large", 1000)):
        ran = segflow.run(image, bundle, tmp_path / "out", "--item", name, "--block", block)
        assert ran.code == 0, ran.error
        found.append(json.loads((ran.folder / "run.json").read_text())["seams"])
        assert "Neighbouring tiles agree" in (ran.folder / "report.html").read_text()
    assert found[0] == found[1]
    assert [a["axis"] for a in found[0]["axes"]] == ["y", "x"]
    assert found[0]["pairs"] == 2 * 4 + 3 * 3
    assert found[0]["pixels"] > 200
    assert found[0]["other_class"] == 0
    assert found[0]["difference"] == 0
    assert found[0]["limits"] == {"other_class": 0.03, "difference": 0.05}
