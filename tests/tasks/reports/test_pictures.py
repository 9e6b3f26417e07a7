"""Pictures show the right colours at the right places, in bounded memory and size."""

from __future__ import annotations

import copy
import dataclasses
import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import rasterio
from PIL import Image as PILImage
from rasterio.transform import from_origin
from scipy import ndimage

from tasks.errors import InputError
from tasks.imagery.protocol import GdalFile
from tasks.imagery.source import Source
from tasks.reports import paint
from tasks.reports.panels import display_channels, mask_planes, panels, ranges
from tasks.reports.pictures import overview, save


def test_stretch_is_linear_and_clipped() -> None:
    values = np.array([-5.0, 10.0, 15.0, 20.0, 99.0, np.nan])
    assert paint.stretch(values, 10, 20).tolist() == [0, 0, 128, 255, 255, 0]
    assert paint.stretch(values, 3, 3).tolist() == [128] * 6


def test_channels_to_display() -> None:
    assert display_channels(("nir", "Blue", "Green", "Red")) == (3, 2, 1)
    assert display_channels(("swir", "nir", "red", "green")) == (0, 1, 2)
    assert display_channels(("vv", "vh")) == (0,)


def test_natural_colours_share_a_range(earth: Any) -> None:
    stats = earth.record["statistics"]
    low, high = min(s["p2"] for s in stats[:3]), max(s["p98"] for s in stats[:3])
    assert ranges(earth.record, (0, 1, 2)) == [(low, high)] * 3
    assert ranges(earth.record, (3, 1, 2))[0] == (stats[3]["p2"], stats[3]["p98"])


def test_reflectance_keeps_its_hue_too(earth: Any) -> None:
    """Of other types than bytes, and where the bands have names of their own."""
    record = copy.deepcopy(earth.record)
    record["input"]["dtype"] = "uint16"
    record["input"]["bands"] = [{"channel": s["channel"]} for s in record["statistics"]]
    for i, s in enumerate(record["statistics"]):
        s["channel"] = f"B{i}"
    assert len(set(ranges(record, (0, 1, 2)))) == 1


def test_ct_has_its_soft_tissue_window(brain: Any) -> None:
    record = copy.deepcopy(brain.record)
    record["input"]["units"] = ["HU"]
    record["statistics"][0] |= {"p2": -1000.0, "p98": 900.0, "minimum": -1024.0, "maximum": 1500.0}
    assert ranges(record, (0,)) == [(-160.0, 240.0)]
    record["statistics"][0] |= {"p2": 300.0, "p98": 900.0, "minimum": 290.0}
    assert ranges(record, (0,)) == [(300.0, 900.0)]


def test_a_channel_without_contrast_still_has_a_range(earth: Any) -> None:
    record = copy.deepcopy(earth.record)
    record["statistics"][0] |= {"p2": 4.0, "p98": 4.0, "minimum": None, "maximum": None}
    assert ranges(record, (0,)) == [(0.0, 1.0)]


def test_panel_holds_the_pixels_of_the_file(earth: Any) -> None:
    (panel,) = panels(earth.image, earth.directory / "mask.tif", earth.record, size=934)
    assert panel.base.shape == (700, 934, 3)
    np.testing.assert_array_equal(panel.codes, earth.codes)
    (low, high), *_ = ranges(earth.record, (0, 1, 2))
    shown = np.clip(np.rint((earth.image.values[..., :3] - low) / (high - low) * 255), 0, 255)
    valid = earth.codes != 255
    np.testing.assert_array_equal(panel.base[valid], shown[valid])
    assert {tuple(c) for c in panel.base[~valid].tolist()} == set(paint.CHECKER)


def test_decimated_panel_is_the_average(earth: Any) -> None:
    (panel,) = panels(earth.image, earth.directory / "mask.tif", earth.record, size=467)
    assert panel.base.shape == (350, 467, 3)
    (low, high), *_ = ranges(earth.record, (0, 1, 2))
    mean = earth.image.values[..., :3].astype(float).reshape(350, 2, 467, 2, 3).mean((1, 3))
    shown = np.clip((mean - low) / (high - low) * 255, 0, 255)
    inner = np.s_[:, 25:]  # GDAL rounds averages of bytes to bytes before the stretch
    assert np.abs(panel.base[inner] - shown[inner]).max() <= 0.5 * 255 / (high - low) + 1


def test_layer_colours() -> None:
    classes = [
        {"name": "a", "code": 0, "colour": "#123456", "region": False},
        {"name": "b", "code": 1, "colour": "#d9a441", "region": True},
    ]
    codes = np.zeros((40, 40), np.uint8)
    codes[8:32, 8:32] = 1
    codes[:4], codes[36:], codes[:, 36:] = 255, 254, 253
    out = paint.layer(codes, classes, {"nodata": 255, "failed": 254, "unobserved": 253})
    assert out[20, 20].tolist() == [0xD9, 0xA4, 0x41, paint.FILL_ALPHA]
    assert out[8, 20].tolist() == [*paint.outline((0xD9, 0xA4, 0x41)), 255]
    assert out[2, 2, 3] == 0
    assert out[6, 6, 3] == 0
    assert {tuple(v) for v in out[37, :30, :3].tolist()} == {paint.FAILED_RED}
    assert set(out[37, :30, 3].tolist()) == {110, 255}
    assert tuple(out[20, 38, :3]) == paint.UNOBSERVED_GREY


def test_layer_png_is_exact_and_small(earth: Any) -> None:
    classes = earth.record["bundle"]["classes"]
    layer = paint.layer(earth.codes, classes, {"nodata": 255, "failed": 254, "unobserved": 253})
    data = paint.png(layer)
    back = np.asarray(PILImage.open(io.BytesIO(data)).convert("RGBA"))
    np.testing.assert_array_equal(back[layer[..., 3] > 0], layer[layer[..., 3] > 0])
    np.testing.assert_array_equal(back[..., 3], layer[..., 3])
    assert len(data) < 40_000


def test_blend_is_the_weighted_mean() -> None:
    base = np.full((1, 1, 3), 100, np.uint8)
    top = np.array([[[200, 0, 100, 102]]], np.uint8)
    assert paint.blend(base, top, 0.5)[0, 0].tolist() == [120, 80, 100]


def test_overview_of_a_raster(earth: Any, tmp_path: Path) -> None:
    sheet = overview(earth.image, earth.directory / "mask.tif", earth.record, summary=earth.summary)
    assert sheet.width == 1400
    assert 600 < sheet.height < 800
    pixels = np.asarray(sheet).astype(float)
    # Panels start at (122, 28) and (122, 708); 934 columns became 664.
    scale, left, right, top = 664 / 934, 28, 708, 122

    def at(y: int, x: int, start: int) -> np.ndarray:
        return pixels[top + round(y * scale), start + round(x * scale)]

    inside_land = ndimage.binary_erosion(earth.codes == 1, iterations=12)
    alpha = paint.FILL_ALPHA / 255 * 0.8
    for y, x in np.argwhere(inside_land)[::20011]:
        expected = at(y, x, left) * (1 - alpha) + alpha * np.array([0xD9, 0xA4, 0x41])
        np.testing.assert_allclose(at(y, x, right), expected, atol=1)
    inside_ocean = ndimage.binary_erosion(earth.codes == 0, iterations=12)
    for y, x in np.argwhere(inside_ocean)[::20011]:
        np.testing.assert_array_equal(at(y, x, right), at(y, x, left))
    assert tuple(at(300, 20, right)) in paint.CHECKER
    r, g, b = at(560, 660, right)
    assert r > g + 60
    assert r > b + 50
    save(sheet, tmp_path / "o.png")
    assert (tmp_path / "o.png").stat().st_size < 1_500_000


def test_noise_still_gives_a_small_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    save(PILImage.fromarray(noise), tmp_path / "n.png")
    assert (tmp_path / "n.png").stat().st_size <= 1_400_000
    assert len(paint.jpeg(noise, limit=1_200_000)) <= 1_200_000


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3000), (3000, 2), (5, 7)])
def test_odd_shapes(earth: Any, tmp_path: Path, height: int, width: int) -> None:
    profile = {"driver": "GTiff", "height": height, "width": width, "transform": from_origin(0, 0, 1, 1)}
    with rasterio.open(tmp_path / "i.tif", "w", count=1, dtype="float32", **profile) as file:
        file.write(np.ones((1, height, width), np.float32))
    with rasterio.open(tmp_path / "mask.tif", "w", count=1, dtype="uint8", **profile) as file:
        file.write(np.ones((1, height, width), np.uint8))
    info = dataclasses.replace(
        earth.image.info, source=Source.of(tmp_path / "i.tif"), gdal=GdalFile(str(tmp_path / "i.tif"), "GTiff", (1,)), shape=(height, width), channels=("x",),
        grid={"crs": None, "transform": [1, 0, 0, 0, -1, 0]},
    )  # fmt: skip
    sheet = overview(dataclasses.replace(earth.image, info=info), tmp_path / "mask.tif", earth.record)
    assert sheet.width == 1400
    assert sheet.height < 3000


def test_an_image_of_a_gigapixel(earth: Any, tmp_path: Path) -> None:
    side = 32_768  # a gigapixel, all sparse: reading it must neither hold nor average it
    profile = {
        "driver": "GTiff",
        "height": side,
        "width": side,
        "count": 1,
        "tiled": True,
        "blockxsize": 2048,
    }
    profile |= {
        "blockysize": 2048,
        "sparse_ok": True,
        "compress": "deflate",
        "transform": from_origin(0, 0, 1, 1),
    }
    for name in ("i.tif", "mask.tif"):
        with rasterio.open(tmp_path / name, "w", dtype="uint8", BIGTIFF="YES", **profile) as file:
            file.write(np.full((1, 2048, 2048), 2, np.uint8), window=((0, 2048), (0, 2048)))
    info = dataclasses.replace(
        earth.image.info, source=Source.of(tmp_path / "i.tif"), gdal=GdalFile(str(tmp_path / "i.tif"), "GTiff", (1,)), shape=(side, side), channels=("x",),
        grid={"crs": None, "transform": [1, 0, 0, 0, -1, 0]},
    )  # fmt: skip
    image = dataclasses.replace(earth.image, info=info)
    (panel,) = panels(image, tmp_path / "mask.tif", earth.record, size=600)
    assert panel.codes.shape == (600, 600)
    assert set(np.unique(panel.codes[:36, :36])) == {2}
    assert set(np.unique(panel.codes[40:])) == {0}


@pytest.mark.parametrize("axes", ["RAS", "LPI", "PSR", "ASL", "IRP"])
def test_planes_of_any_orientation(tmp_path: Path, axes: str) -> None:
    rng = np.random.default_rng(5)
    canonical = rng.integers(0, 2, (9, 12, 15)).astype(np.uint8)  # x, y, z
    canonical[7, 10, 3] = 2
    to = nib.orientations.axcodes2ornt(tuple(axes))
    start = nib.Nifti1Image(canonical, np.diag([1.0, 2, 3, 1]))
    turned = start.as_reoriented(nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), to))
    assert nib.aff2axcodes(turned.affine) == tuple(axes)
    nib.save(turned, tmp_path / "mask.nii.gz")
    centre, (axial, coronal, sagittal) = mask_planes(tmp_path / "mask.nii.gz", [2])
    assert centre == [3, 10, 7]
    np.testing.assert_array_equal(axial, canonical[:, :, 3].T)
    np.testing.assert_array_equal(coronal, canonical[:, 10, :].T)
    np.testing.assert_array_equal(sagittal, canonical[7].T)


def test_strips_of_a_thin_stack_are_left_out(brain: Any) -> None:
    info = dataclasses.replace(brain.image.info, grid=brain.image.info.grid | {"spacing": [0.1, 2.0, 2.0]})
    image = dataclasses.replace(brain.image, info=info)
    (axial,) = panels(image, brain.directory / "mask.nii.gz", brain.record, size=600)
    assert axial.name == "axial"
    assert max(axial.base.shape[:2]) == 300
    assert len(panels(brain.image, brain.directory / "mask.nii.gz", brain.record, size=600)) == 3


def test_nothing_segmented_shows_the_middle(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 6, 9), np.uint8), np.eye(4)), tmp_path / "mask.nii.gz")
    assert mask_planes(tmp_path / "mask.nii.gz", [1])[0] == [4, 3, 2]


def test_a_truncated_mask_is_refused(brain: Any, tmp_path: Path) -> None:
    whole = (brain.directory / "mask.nii.gz").read_bytes()
    (tmp_path / "mask.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="could not be read for the report"):
        mask_planes(tmp_path / "mask.nii.gz", [1])


def test_volume_panels(brain: Any) -> None:
    views = panels(brain.image, brain.directory / "mask.nii.gz", brain.record, size=1400)
    assert [v.name for v in views] == ["axial", "coronal", "sagittal"]
    assert [v.sides for v in views] == [("R", "L", "A", "P"), ("R", "L", "S", "I"), ("A", "P", "S", "I")]
    # Millimetres: 140 × 165 × 132 (x, y, z).
    for view, (h, w) in zip(views, [(165, 140), (132, 140), (132, 165)], strict=True):
        assert view.base.shape[0] / view.base.shape[1] == pytest.approx(h / w, rel=0.01)
    assert views[0].caption == "Axial, slice 22 of 44"


def test_the_patients_right_front_top(brain: Any, tmp_path: Path) -> None:
    """A mark at the right, front and top of the head lies where the letters say."""
    codes = np.zeros_like(brain.codes)
    codes[38:42, 100:106, 128:136] = 1
    affine = nib.load(brain.directory / "mask.nii.gz").affine
    native = np.ascontiguousarray(codes.transpose(2, 1, 0)[::-1, ::-1, ::-1])
    nib.save(nib.Nifti1Image(native, affine), tmp_path / "mask.nii.gz")
    axial, coronal, sagittal = panels(brain.image, tmp_path / "mask.nii.gz", brain.record, size=1400)
    for view in (axial, coronal, sagittal):
        rows, columns = np.nonzero(view.codes == 1)
        height, width = view.codes.shape
        assert rows.size > 50
        assert rows.max() < height / 4  # anterior or superior
        assert columns.max() < width / 4  # the patient's right, or the front
        # The input shows the same bright mark (420 against 8) at the same place.
        mark = view.codes == 1
        assert view.base[mark].mean() > 100 > 3 * view.base[: height // 10, -width // 10 :].mean()


def test_a_series_shows_its_first_frame(brain: Any, tmp_path: Path) -> None:
    values = np.stack([brain.image.values, np.zeros_like(brain.image.values)])
    info = dataclasses.replace(
        brain.image.info, shape=values.shape[:4], axes=("t", "z", "y", "x"), wraps=(False,) * 4,
        grid=brain.image.info.grid | {"spacing": [0.0, 3.0, 1.5, 1.0]},
    )  # fmt: skip
    mask = nib.load(brain.directory / "mask.nii.gz")
    series = np.stack([np.asarray(mask.dataobj), np.zeros(mask.shape, np.uint8)], axis=-1)
    nib.save(nib.Nifti1Image(series, mask.affine), tmp_path / "mask.nii.gz")
    image = dataclasses.replace(brain.image, info=info, values=values)
    views = panels(image, tmp_path / "mask.nii.gz", brain.record, size=1400)
    plain = panels(brain.image, brain.directory / "mask.nii.gz", brain.record, size=1400)
    assert views[0].caption == "Axial, slice 22 of 44, frame 0 (of 0 to 1)"
    for one, other in zip(views, plain, strict=True):
        np.testing.assert_array_equal(one.base, other.base)
        np.testing.assert_array_equal(one.codes, other.codes)


def test_a_single_slice_shows_one_plane(brain: Any, tmp_path: Path) -> None:
    info = dataclasses.replace(brain.image.info, shape=(1, 110, 140))
    image = dataclasses.replace(brain.image, info=info, values=brain.image.values[21:22])
    mask = nib.load(brain.directory / "mask.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj)[:, :, 22:23], mask.affine), tmp_path / "mask.nii.gz")
    assert [v.name for v in panels(image, tmp_path / "mask.nii.gz", brain.record, size=900)] == ["axial"]
