"""DESIGN's promise 3 with real networks: one mask, to the last byte, however the work is cut and in any order."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import rasterio
from scipy import ndimage

from flows.pipeline import run_item
from flows.places import Threads
from flows.request import make_request
from flows.runner import DirectRunner
from segmodels.bundles.card import Card, ChannelCard, ClassCard
from segmodels.bundles.write import write_bundle
from segmodels.engines.hardware import cpu_bfloat16

pytestmark = pytest.mark.slow

ENGINES = [("openvino", "float32"), ("tensorflow", "float32")]
if cpu_bfloat16():
    ENGINES += [("openvino", "bfloat16"), ("tensorflow", "bfloat16")]
#: Pixels of a block (None: the plan's choice), blocks at once, and whether their order is shuffled.
CUTS = [(None, 1, False), (1, 1, False), (1, 3, True), (40, 2, True), (64, 2, False), (10_000, 1, False)]


class Shuffled(DirectRunner):
    """Blocks in an order of its own."""

    def blocks(self, planned: Any) -> Iterator[Any]:
        todo = list(planned.todo)
        random.Random(len(todo)).shuffle(todo)
        return super().blocks(replace(planned, todo=tuple(todo)))


class Silent:
    def stage(self, name: str) -> None: ...

    def planned(self, planned: Any, plan: Any) -> None: ...

    def block(self) -> None: ...

    def published(self, folder: Path, record: dict[str, Any]) -> None: ...


def picture(shape: tuple[int, ...]) -> np.ndarray:
    noise = np.random.default_rng(3).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, 3)
    return (smooth / np.abs(smooth).max() * 110 + 128).astype(np.uint8)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("images")
    raster = folder / "raster.tif"
    profile = {"driver": "GTiff", "width": 151, "height": 133, "count": 1, "dtype": "uint8", "nodata": 255}
    profile |= {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(5e5, 5e6, 10, 10)}
    with rasterio.open(raster, "w", **profile) as dataset:
        values = picture((133, 151))
        values[100:, :20] = 255
        dataset.write(values, 1)
    volume = folder / "volume.nii.gz"
    nib.save(nib.Nifti1Image(picture((45, 37, 41)), np.diag([1.0, -1.0, 2.0, 1.0])), volume)
    return {2: raster, 3: volume}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    from segmodels.registry import build
    from segmodels.training.loop import seed_everything

    seed_everything(7)
    out = {}
    for ndims, tile in ((2, (32, 32)), (3, (16, 16, 16))):
        card = Card(
            name=f"net{ndims}",
            ndims=(ndims,),
            classes=tuple(ClassCard(name=n, code=i, colour="#123456") for i, n in enumerate("abc")),
            channels=(ChannelCard(name="value"),),
            normalise=({"kind": "zscore"},),
            tile=tile,
            overlap=0.5 if ndims == 3 else 0.25,
            stride=4,
            agreement=0.98,  # untrained: many near ties
        )
        model = build("context_unet", channels=1, classes=3, ndim=ndims, filters=(4, 8, 8))
        head = model.get_layer("logits")
        # Untrained logits hardly differ: spread them, so that bfloat16 keeps their order.
        head.set_weights([40 * w for w in head.get_weights()])
        golden = np.random.default_rng(0).normal(size=(1, *tile, 1)).astype(np.float32)
        out[ndims] = tmp_path_factory.mktemp("bundles") / card.name
        write_bundle(out[ndims], card=card, model=model, golden_input=golden)
    return out


def digest(folder: Path) -> str:
    mask = next(p for p in (folder / "mask.tif", folder / "mask.nii.gz") if p.exists())
    return hashlib.sha256(mask.read_bytes()).hexdigest()


@pytest.mark.parametrize("ndims", [2, 3])
@pytest.mark.parametrize(("engine", "precision"), ENGINES)
def test_one_mask_for_every_cut_and_order(
    engine: str,
    precision: str,
    ndims: int,
    images: dict[int, Path],
    bundles: dict[int, Path],
    tmp_path: Path,
) -> None:
    found: dict[str, list[Any]] = {}
    for number, (block, workers, shuffled) in enumerate(CUTS):
        request = make_request(
            image=images[ndims],
            model=str(bundles[ndims]),
            out=tmp_path / str(number),
            block=block,
            workers=workers,
            engine=engine,
            precision=precision,
            server=False,
        )
        kind: Callable[..., DirectRunner] = Shuffled if shuffled else DirectRunner
        result = run_item(request, runner=kind(Threads(workers)), progress=Silent())
        assert result.status in ("done", "suspect")
        found.setdefault(digest(result.out), []).append((block, workers, shuffled, result.blocks))
    assert len(found) == 1, found
    assert len({blocks for *_, blocks in itertools.chain(*found.values())}) > 2


@pytest.mark.parametrize("ndims", [2, 3])
@pytest.mark.parametrize("runner", ["dask", "prefect", "threads"])
def test_one_mask_for_every_runner(
    runner: str, ndims: int, images: dict[int, Path], bundles: dict[int, Path], segflow: Any, tmp_path: Path
) -> None:
    options = ["--engine", "openvino", "--precision", "float32", "--block", 48, "--json"]
    first = segflow("run", images[ndims], "-m", bundles[ndims], "-o", tmp_path / "a", "--direct", *options)
    how = {
        "dask": ["--runner", "dask", "--workers", 2, "--direct"],
        "prefect": ["--workers", 2],
        "threads": ["--workers", min(4, os.cpu_count() or 1), "--direct"],
    }[runner]
    second = segflow("run", images[ndims], "-m", bundles[ndims], "-o", tmp_path / "b", *how, *options)
    assert first.code in (0, 5), first.error
    assert second.code == first.code, second.error
    assert digest(second.folder) == digest(first.folder)
