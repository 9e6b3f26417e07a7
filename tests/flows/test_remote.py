"""``segflow run s3://…`` against a server on this machine: done once, honest when it fails or changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.transform import Affine

from tests.object_store import Store

SIZE = 1000


def cog(path: Path, *, seed: int = 0) -> Path:
    # None near the level, where the last bit of a sum would decide.
    values = np.random.default_rng(seed).random((1, SIZE, SIZE), np.float32)
    values += np.where(values < 0.5, -0.01, 0.01).astype(np.float32)
    flat = path.with_name("flat.tif")
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(
        flat, "w", driver="GTiff", count=1, height=SIZE, width=SIZE, dtype="float32", **place
    ) as f:
        f.write(values)
    rasterio.shutil.copy(flat, path, driver="COG", blocksize=128, compress="DEFLATE", level="1")
    flat.unlink()
    return path


@pytest.fixture
def model(make_bundle: Any) -> Path:
    return make_bundle((0.5,), tile=(128, 128))


def codes(ran: Any) -> np.ndarray:
    with rasterio.open(ran.folder / "mask.tif") as f:
        return f.read(1)


def test_an_object_is_segmented_once(tmp_path: Path, store: Store, segflow: Any, model: Path) -> None:
    path = cog(tmp_path / "x.tif")
    address = store.put("x.tif", path)
    ran = segflow.run(address, model, tmp_path / "out", "--block", "256")
    assert ran.code == 0, ran.error
    record = json.loads((ran.folder / "run.json").read_text())["input"]
    assert (record["path"], record["identity"], record["size"]) == (address, "ETag", path.stat().st_size)
    with rasterio.open(path) as f:
        np.testing.assert_array_equal(codes(ran), f.read(1) > 0.5)
    before = store.bytes
    again = segflow.run(address, model, tmp_path / "out", "--block", "256")
    assert again.answer["already_done"]
    assert store.bytes - before < 64 << 10
    # By content it is the very file, wherever it lies.
    verified = segflow.run(address, model, tmp_path / "content", "--verify-content")
    local = segflow.run(path, model, tmp_path / "local")
    assert (verified.folder / "mask.tif").read_bytes() == (local.folder / "mask.tif").read_bytes()


def test_a_server_that_dies_in_the_middle(tmp_path: Path, store: Store, segflow: Any, model: Path) -> None:
    segflow = segflow.given(CPL_VSIL_CURL_CACHE_SIZE=65536)
    path = cog(tmp_path / "x.tif")
    address = store.put("x.tif", path)
    store.most = int(path.stat().st_size * 1.3)
    ran = segflow.run(address, model, tmp_path / "out", "--block", "256")
    assert (ran.code, ran.answer["status"]) == (4, "partial"), ran.error
    assert (codes(ran) == 254).any()
    assert (codes(ran) < 2).any()
    store.most = None
    again = segflow.run(address, model, tmp_path / "out", "--block", "256")
    assert again.code == 0, again.error
    assert 0 < again.answer["reused_blocks"] < again.answer["blocks"]
    with rasterio.open(path) as f:
        np.testing.assert_array_equal(codes(again), f.read(1) > 0.5)


def test_an_object_that_changes_during_the_run(
    tmp_path: Path, store: Store, segflow: Any, model: Path
) -> None:
    path = cog(tmp_path / "x.tif")
    address = store.put("x.tif", path)
    cog(path, seed=1)
    store.then = (int(path.stat().st_size * 1.1), lambda: store.put("x.tif", path))
    ran = segflow.run(address, model, tmp_path / "out", "--block", "256")
    assert ran.code == 3, ran.error
    assert "changed while it was being segmented: run again" in ran.error
    assert not (tmp_path / "out" / "x" / "run.json").exists()
