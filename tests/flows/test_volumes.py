"""The command on volumes of every format: labels, pairs, modalities, stacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tifffile
import zarr

from tasks.imagery.open import open_image
from tests.flows.conftest import run_many


def ome_zarr(path: Path, data: np.ndarray) -> Path:
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    array = group.create_array("0", shape=data.shape, dtype=data.dtype, chunks=(1, 4, 16, 16))
    array[...] = data
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    placed = [{"type": "scale", "scale": [1, 2.0, 0.5, 0.5]}]
    scale = {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": placed}]}
    group.attrs.update({"multiscales": [scale]})
    return path


def test_every_kind_of_volume(segflow: Any, make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    one, two = make_bundle(ndims=(3,)), make_bundle(ndims=(3,), channels=2, channel=1)
    data = np.random.default_rng(0).random((2, 9, 40, 37)).astype(np.float32)
    cells = ome_zarr(tmp_path / "cells.ome.zarr", data)
    stack = tmp_path / "stack.ome.tif"
    tifffile.imwrite(stack, data[1], metadata={"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})
    affine = np.diag([-0.9, 0.8, 1.7, 1.0])
    scans = [tmp_path / "t1.nii.gz", tmp_path / "flair.nii.gz"]
    for scan, channel in zip(scans, data, strict=True):
        nib.Nifti1Image(channel.T, affine).to_filename(scan)
    series = tmp_path / "series.nii.gz"
    frames = np.stack([data[0], data[1], data[0]]).transpose(3, 2, 1, 0)
    nib.Nifti1Image(frames, affine).to_filename(series)
    elsewhere = tmp_path / "elsewhere.nii.gz"
    nib.Nifti1Image(data[1].T, np.diag([-0.9, 0.8, 1.9, 1.0])).to_filename(elsewhere)
    out = tmp_path / "out"
    options = ("--out", out, "--direct", "--json")
    (tmp_path / "runs").mkdir()
    done = run_many(
        segflow,
        [
            ("run", cells, "-m", two, *options),
            ("run", stack, "-m", one, *options),
            ("run", f"c1={scans[1]}", f"c0={scans[0]}", "-m", two, "--item", "patient", *options),
            ("run", series, "-m", one, "--frame", "1", *options),
            ("run", scans[0], elsewhere, "-m", two, "--item", "mixed", *options),
            ("run", cells, "-m", two, "--block", "16", "--item", "again", *options),
            ("run", series, "-m", one, "--frame", "5", "--item", "late", *options),
        ],
        tmp_path / "runs",
    )
    assert [r.code for r in done] == [0, 0, 0, 0, 3, 0, 3], [r.complaints for r in done]
    assert "not on the grid" in done[4].error
    assert "frames 0 to 2" in done[6].error
    expected = data[1] > 0.5
    for name, mask in (("cells", "mask.ome.zarr"), ("stack", "mask.ome.tif")):
        image = open_image(out / name / mask, scratch=tmp_path)
        codes = image.read(tuple(slice(0, n) for n in image.info.shape)).values[..., 0]
        np.testing.assert_array_equal(codes, expected)
        assert (out / name / "report.html").stat().st_size > 1000
        assert "Radiological" not in (out / name / "report.html").read_text()
    for name in ("patient", "series"):
        found: Any = nib.load(out / name / "mask.nii.gz")
        np.testing.assert_array_equal(np.asarray(found.dataobj), expected.T)
        np.testing.assert_array_equal(found.affine, affine.astype(np.float32))
    files, others = (
        {
            p.relative_to(out / name): p.read_bytes()
            for p in (out / name / "mask.ome.zarr").rglob("*")
            if p.is_file()
        }
        for name in ("cells", "again")
    )
    assert files == others
    record = json.loads((out / "cells/run.json").read_text())
    assert record["files"]["mask.ome.zarr"] == sum(map(len, files.values()))


def test_a_folder_is_done_replaced_and_missed_as_a_whole(
    segflow: Any, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    model = make_bundle(ndims=(3,), channels=2, channel=1)
    data = np.random.default_rng(0).random((2, 5, 20, 18)).astype(np.float32)
    cells, out = ome_zarr(tmp_path / "cells.zarr", data), tmp_path / "out"
    options = ("--out", out, "--direct", "--json")
    mask = out / "cells/mask.ome.zarr"

    def run(*more: str) -> Any:
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return run_many(segflow, [("run", cells, "-m", model, *more, *options)], folder)[0]

    assert run().code == 0
    (mask / "stray").write_text("not of this mask")
    assert run().code == 0
    assert not (mask / "stray").exists()
    ome_zarr(cells, 1 - data)
    assert run().code == 0
    image = open_image(mask, scratch=tmp_path)
    codes = image.read(tuple(slice(0, n) for n in image.info.shape)).values[..., 0]
    np.testing.assert_array_equal(codes, 1 - data[1] > 0.5)
    assert not list(out.rglob("*replaced*"))
