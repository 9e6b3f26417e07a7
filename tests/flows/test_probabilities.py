"""Probabilities of whole runs against the formula of a model whose every pixel is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import rasterio
from rich.console import Console
from rio_cogeo.cogeo import cog_validate

from flows.commands.run import execute
from flows.pipeline import RunResult
from tasks.errors import UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(image: Path, model: Path, out: Path, **options: object) -> RunResult:
    return execute(
        Console(quiet=True), direct=True, debug=False, image=image, model=str(model), out=out, **options
    )


def softmax(values: np.ndarray, levels: tuple[float, ...], steepness: float) -> np.ndarray:
    """What the bundle of the tests' ``make_bundle`` gives every pixel."""
    logits = [steepness * (k * values - sum(levels[:k])) for k in range(len(levels) + 1)]
    powers = np.exp(np.array(logits) - np.max(logits, axis=0))
    return np.asarray(powers / powers.sum(axis=0))


@pytest.mark.parametrize("levels", [(0.5,), (0.3, 0.6)])
def test_raster_probabilities_are_the_models(
    tmp_path: Path, make_bundle: Callable[..., Path], levels: tuple[float, ...]
) -> None:
    values = np.random.default_rng(0).random((75, 91)).astype(np.float32)
    values[:9, :7] = -1
    scene = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "height": 75, "width": 91, "count": 1, "dtype": "float32", "nodata": -1}
    with rasterio.open(
        scene, "w", crs="EPSG:32633", transform=rasterio.Affine(1, 0, 0, 0, -1, 9), **profile
    ) as file:
        file.write(values, 1)
    model = make_bundle(levels, steepness=8.0)
    expected = softmax(values, levels, 8.0)
    plain = run(scene, model, tmp_path / "plain", tile=[16])
    found = {}
    for kind, error in (("uint8", 0.5 / 254), ("float16", 2**-11)):
        for block in (16, 1000):
            out = run(
                scene, model, tmp_path / f"{kind}{block}", tile=[16], block=block, probabilities=kind
            ).out
            assert (out / "mask.tif").read_bytes() == (plain.out / "mask.tif").read_bytes()
            found[kind, block] = (out / "probabilities.tif").read_bytes()
            with rasterio.open(out / "probabilities.tif") as file:
                assert file.descriptions == ("low", "middle", "high")[: len(levels) + 1]
                got = file.read(masked=True)
                assert (file.crs, file.transform[:6]) == ("EPSG:32633", (1, 0, 0, 0, -1, 9))
                scale = np.array(file.scales)[:, None, None]
            assert (got.mask == (values < 0)).all()
            # The blend itself keeps twelve bits at least.
            np.testing.assert_allclose(
                (got * scale)[:, values >= 0], expected[:, values >= 0], atol=error + 3e-4
            )
            assert cog_validate(out / "probabilities.tif", strict=True)[0]
            record = json.loads((out / "run.json").read_text())
            assert record["probabilities"]["dtype"] == kind
            assert "probabilities.tif" in record["files"]
            assert "probabilities" in json.loads((out / "stac.json").read_text())["assets"]
        assert found[kind, 16] == found[kind, 1000]
    # A result without them is not what is asked for; one with them is done for who does not ask.
    again = run(scene, model, tmp_path / "plain", tile=[16], probabilities="uint8")
    assert not again.already_done
    assert run(scene, model, tmp_path / "plain", tile=[16]).already_done


def test_volume_probabilities_have_an_axis_of_classes(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    values = np.random.default_rng(1).random((20, 33, 18)).astype(np.float32)
    affine = np.diag([-2.0, 1.0, 3.0, 1.0])  # left-right is flipped against the model's axes
    scan = tmp_path / "v.nii.gz"
    nib.save(nib.Nifti1Image(values, affine), scan)
    model = make_bundle((0.3, 0.6), ndims=(3,), tile=(16, 16, 16))
    files = []
    for block in (16, 1000):
        out = run(scan, model, tmp_path / f"o{block}", block=block, probabilities="uint8").out
        files.append((out / "probabilities.nii.gz").read_bytes())
    assert files[0] == files[1]
    image = nib.load(out / "probabilities.nii.gz")
    assert image.shape == (*values.shape, 3)
    np.testing.assert_array_equal(image.affine, affine)
    got = np.moveaxis(np.asarray(image.dataobj), -1, 0)
    np.testing.assert_allclose(got, softmax(values, (0.3, 0.6), 8.0), atol=0.5 / 254 + 3e-4)
    with pytest.raises(UsageError, match="NIfTI has no 16-bit floats"):
        run(scan, model, tmp_path / "o", probabilities="float16")
