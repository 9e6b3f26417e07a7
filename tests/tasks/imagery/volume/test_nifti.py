"""Orientation, scaling and windows of NIfTI against nibabel."""

from __future__ import annotations

import errno
import gc
import gzip
import itertools
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from segmodels.bundles.card import ChannelCard
from tasks.errors import InputError
from tasks.imagery.open import describe, open_image
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.source import Source
from tasks.imagery.volume.orientation import native_box, native_boxes, native_index, world
from tasks.imagery.wanted import Reading, Wanted

ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def oriented_affine(order: tuple[int, ...], flips: tuple[int, ...], spacing=(1.0, 2.0, 3.5)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for native, (axis, flip) in enumerate(zip(order, flips, strict=True)):
        affine[axis, native] = flip * spacing[native]
    affine[:3, 3] = [-5, 7, 11]
    return affine


def everything(info: ImageInfo) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in info.shape)


def canonical(path: Path) -> np.ndarray:
    """What nibabel says, as ([t,] z, y, x)."""
    data = np.asanyarray(nib.as_closest_canonical(nib.load(path)).dataobj)
    return data.transpose(list(range(data.ndim))[::-1])


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
def test_every_orientation_is_seen_as_canonical(tmp_path: Path, order: Any, flips: Any) -> None:
    data = np.arange(3 * 4 * 5, dtype="int16").reshape(3, 4, 5)
    path = tmp_path / "x.nii"
    nib.Nifti1Image(data, oriented_affine(order, flips)).to_filename(path)
    image = open_image(path, scratch=tmp_path)
    expected = canonical(path)
    np.testing.assert_array_equal(image.read(everything(image.info)).values[..., 0], expected)
    z, y, x = expected.shape
    window = (slice(1, z), slice(0, y - 1), slice(1, x - 1))
    np.testing.assert_array_equal(image.read(window).values[..., 0], expected[window])
    np.testing.assert_array_equal(data[native_box(image.info, window)].ravel().sum(), expected[window].sum())
    box = native_box(image.info, window)
    low, high = native_boxes(
        image.info, np.array([[s.start for s in window]]), np.array([[s.stop for s in window]])
    )
    assert [slice(*ends) for ends in zip(low[0].tolist(), high[0].tolist(), strict=True)] == list(box)
    # A canonical index, in the file's own axes, is the same voxel and the same point in space.
    point = [[1, 2, 1]]
    i, j, k = native_index(image.info, point)[0]
    assert data[int(i), int(j), int(k)] == expected[1, 2, 1]
    xyz = nib.as_closest_canonical(nib.load(path)).affine @ [1, 2, 1, 1]
    np.testing.assert_allclose(world(image.info, point)[0], xyz[:3], atol=1e-5)
    assert image.info.grid["orientation"] == "".join(nib.aff2axcodes(nib.load(path).affine))


def test_spacing_follows_the_canonical_axes(tmp_path: Path) -> None:
    path = tmp_path / "x.nii"
    image = nib.Nifti1Image(np.zeros((3, 4, 5), "u1"), oriented_affine((2, 0, 1), (1, -1, 1)))
    image.to_filename(path)
    info = open_image(path, scratch=tmp_path).info
    # Native i runs along z with 1 mm, j along x with 2 mm, k along y with 3.5 mm.
    assert info.shape == (3, 5, 4)
    assert info.grid["spacing"] == [1.0, 3.5, 2.0]
    assert info.grid["voxel_mm3"] == pytest.approx(7)


@pytest.mark.parametrize(
    ("unit", "factor"), [("meter", 1000.0), ("micron", 1e-3), ("mm", 1.0), ("unknown", 1.0)]
)
def test_units_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    path = tmp_path / "x.nii"
    image = nib.Nifti1Image(np.zeros((2, 2, 2), "u1"), np.diag([0.5, 0.5, 2, 1]))
    image.header.set_xyzt_units(unit)
    image.to_filename(path)
    info = open_image(path, scratch=tmp_path).info
    assert info.grid["spacing"] == pytest.approx([2 * factor, 0.5 * factor, 0.5 * factor])
    assert info.grid["voxel_mm3"] == pytest.approx(0.5 * factor**3)
    np.testing.assert_allclose(world(info, [[1, 0, 0]]), [[0, 0, 2 * factor]])


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("scale", [None, (2.5, -3.0), (1.0, -1024.0)])
def test_dtypes_byte_orders_and_scaling(tmp_path: Path, dtype: str, order: str, scale: Any) -> None:
    data = np.arange(60).reshape(3, 4, 5).astype(dtype)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    header.set_data_shape(data.shape)
    header.set_sform(np.eye(4), 1)
    header["scl_slope"], header["scl_inter"] = scale or (np.nan, np.nan)
    header["vox_offset"] = 352
    path = tmp_path / "x.nii"
    with path.open("wb") as f:
        header.write_to(f)
        f.write(data.astype(data.dtype.newbyteorder(order)).tobytes(order="F"))
    image = open_image(path, scratch=tmp_path)
    values = image.read(everything(image.info)).values
    expected = canonical(path)
    np.testing.assert_array_equal(values[..., 0], expected)
    assert values.dtype == expected.dtype.newbyteorder("=")
    assert values.dtype.isnative
    assert values.dtype.name == image.info.dtype


@pytest.mark.parametrize(
    "name",
    [
        "nibabel/example4d.nii.gz",
        "nibabel/example_nifti2.nii.gz",
        "nibabel/anatomical.nii",
        "ct-organs/example_ct.nii.gz",
    ],
)
def test_real_volumes(tmp_path: Path, shared_data: Path, name: str) -> None:
    path = shared_data / name
    image = open_image(path, scratch=tmp_path)
    expected = canonical(path)
    assert image.info.shape == expected.shape
    np.testing.assert_array_equal(image.read(everything(image.info)).values[..., 0], expected)
    part = tuple(slice(n // 3, n // 3 + max(1, n // 2)) for n in expected.shape)
    np.testing.assert_array_equal(image.read(part).values[..., 0], expected[part])
    image.close()


def test_four_axes_are_frames_or_channels(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "nibabel" / "example4d.nii.gz"
    frames = open_image(path, scratch=tmp_path)
    assert frames.info.axes == ("t", "z", "y", "x")
    assert frames.info.grid["spacing"][0] == 0
    channels = open_image(path, scratch=tmp_path, wanted=Wanted(count=2))
    assert channels.info.axes == ("z", "y", "x")
    assert len(channels.info.channels) == 2
    values = channels.read(everything(channels.info)).values
    np.testing.assert_array_equal(np.moveaxis(values, -1, 0), canonical(path))
    one = open_image(path, scratch=tmp_path, wanted=Wanted(count=1))
    assert one.info.axes == ("t", "z", "y", "x")
    assert describe(frames.info) == "NIfTI, 128 × 96 × 24 voxels, 2 frames, int16, 2 × 2 × 2.2 mm, LAS"


@pytest.mark.parametrize(
    ("shape", "expected"), [((5, 4), (1, 4, 5)), ((5, 4, 3, 1), (3, 4, 5)), ((5, 4, 3, 2, 1), (2, 3, 4, 5))]
)
def test_shapes(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    data = np.arange(np.prod(shape), dtype="int32").reshape(shape)
    path = tmp_path / "x.nii"
    nib.Nifti1Image(data, np.eye(4)).to_filename(path)
    image = open_image(path, scratch=tmp_path)
    assert image.info.shape == expected
    assert tuple(image.info.grid["native_shape"]) == shape
    np.testing.assert_array_equal(image.read(everything(image.info)).values.ravel(), data.ravel(order="F"))


def test_not_finite_is_not_valid(tmp_path: Path) -> None:
    data = np.ones((3, 4, 5), "f4")
    data[1, 2, 3], data[0, 0, 0] = np.nan, np.inf
    path = tmp_path / "x.nii"
    nib.Nifti1Image(data, np.eye(4)).to_filename(path)
    image = open_image(path, scratch=tmp_path)
    valid = image.read(everything(image.info)).valid
    assert {tuple(map(int, p)) for p in np.argwhere(~valid)} == {(3, 2, 1), (0, 0, 0)}


def test_gzip_is_inflated_once(tmp_path: Path) -> None:
    data = np.arange(60, dtype="int16").reshape(3, 4, 5)
    plain = tmp_path / "x.nii"
    nib.Nifti1Image(data, np.eye(4)).to_filename(plain)
    # Two members and trailing bytes, as some writers leave them.
    raw = plain.read_bytes()
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(raw[:300]) + gzip.compress(raw[300:] + b"trailing"))
    scratch = tmp_path / "scratch"
    first = open_image(path, scratch=scratch)
    (inflated,) = scratch.iterdir()
    assert inflated.read_bytes() == raw
    stamp = inflated.stat().st_mtime_ns
    second = open_image(path, scratch=scratch)
    assert [f.stat().st_mtime_ns for f in scratch.iterdir()] == [stamp]
    for image in (first, second):
        np.testing.assert_array_equal(image.read(everything(image.info)).values[..., 0], data.T)


def test_notes_on_disagreeing_forms(tmp_path: Path) -> None:
    path = tmp_path / "x.nii"
    image = nib.Nifti1Image(np.zeros((4, 4, 4), "u1"), np.eye(4))
    image.set_sform(np.diag([1, 1, 1, 1]), 1)
    image.set_qform(np.diag([-1, 1, 1, 1]), 1)
    image.to_filename(path)
    info = open_image(path, scratch=tmp_path).info
    assert any("disagree" in n for n in info.notes)
    assert info.grid["orientation"] == "RAS"
    image.set_qform(np.eye(4), 1)
    image.to_filename(path)
    assert open_image(path, scratch=tmp_path).info.notes == ()
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    image.to_filename(path)
    info = open_image(path, scratch=tmp_path).info
    assert any("no orientation" in n for n in info.notes)
    np.testing.assert_array_equal(info.grid["affine"], nib.load(path).affine)


@pytest.mark.parametrize("piece", [1, 40, 1 << 20])
@pytest.mark.parametrize("gap", [0, 1 << 20])
def test_windows_in_pieces_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, gap: int
) -> None:
    monkeypatch.setattr("tasks.imagery.volume.voxels._PIECE", piece)
    monkeypatch.setattr("tasks.imagery.volume.voxels._GAP", gap)
    data = np.random.default_rng(0).integers(-999, 999, (11, 7, 5, 2)).astype(">i2")
    path = tmp_path / "x.nii"
    # The file's first axis is the canonical z, as in sagittal scans.
    nib.Nifti1Image(data, oriented_affine((2, 0, 1), (-1, 1, 1))).to_filename(path)
    image = open_image(path, scratch=tmp_path)
    expected = canonical(path)
    assert image.info.shape == expected.shape == (2, 11, 5, 7)
    read, most = [], []
    real = os.pread

    def spy(fd: int, length: int, offset: int) -> bytes:
        read.append(length)
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", spy)
    rng = np.random.default_rng(1)
    for _ in range(20):
        ends = [sorted(rng.choice(n + 1, 2, replace=False)) for n in expected.shape]
        window = tuple(slice(int(a), int(b)) for a, b in ends)
        read.clear()
        np.testing.assert_array_equal(image.read(window).values[..., 0], expected[window])
        most.append(max(read))
        if gap == 0:
            # Only what is wanted (whole rows where rows are wanted whole).
            assert sum(read) == 2 * expected[window].size
    assert max(most) <= max(piece, 11 * 2)


def test_a_forgotten_image_gives_its_file_back(tmp_path: Path) -> None:
    path = tmp_path / "x.nii.gz"
    nib.Nifti1Image(np.zeros((3, 4, 5), "i2"), np.eye(4)).to_filename(path)
    image = open_image(path, scratch=tmp_path / "scratch")
    fd = image._voxels._fd  # type: ignore[attr-defined]
    os.fstat(fd)
    del image
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_closed_image_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.nii"
    nib.Nifti1Image(np.zeros((3, 4, 5), "i2"), np.eye(4)).to_filename(path)
    image = open_image(path, scratch=tmp_path)
    image.close()
    image.close()
    with pytest.raises(ValueError, match="is closed"):
        image.read(everything(image.info))


def test_a_bad_disk_is_an_input_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.nii"
    nib.Nifti1Image(np.zeros((3, 4, 5), "i2"), np.eye(4)).to_filename(path)
    image = open_image(path, scratch=tmp_path)

    def broken(*_: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(InputError, match=r"x\.nii cannot be read \(Input/output error\); check the disk"):
        image.read(everything(image.info))


def test_one_file_under_a_name_that_is_no_channel_is_refused(tmp_path: Path) -> None:
    nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii")
    wanted = Wanted(channels=(ChannelCard(name="T1"),))
    with pytest.raises(InputError, match="is named as channel red"):
        open_image(Source.parse([f"red={tmp_path / 'a.nii'}"]), scratch=tmp_path, wanted=wanted)
    open_image(Source.parse([f"t1={tmp_path / 'a.nii'}"]), scratch=tmp_path, wanted=wanted).close()


def test_a_layer_of_a_file_that_holds_one_image_is_refused(tmp_path: Path) -> None:
    nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii")
    with pytest.raises(InputError, match="leave --layer out"):
        open_image(tmp_path / "a.nii", scratch=tmp_path, wanted=Wanted(reading=Reading(layer="3")))
