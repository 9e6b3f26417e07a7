"""DICOM in: sorted by place, chosen by rule, refused with a reason; values and grid against nibabel and arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
import SimpleITK
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from segmodels.bundles.card import ChannelCard
from segmodels.bundles.series import SeriesRule
from tasks.errors import InputError
from tasks.imagery.formats import format_of
from tasks.imagery.open import describe, open_image
from tasks.imagery.protocol import Image
from tasks.imagery.source import Source
from tasks.imagery.wanted import Reading, Wanted
from tests.tasks.imagery.volume.dicom_series import PLANT, oblique, phantom, write_enhanced, write_series


def opened(folder: Path, **wanted: Any) -> Image:
    return open_image(folder, scratch=folder / "scratch", wanted=Wanted(**wanted))


def whole(image: Image) -> npt.NDArray[Any]:
    return image.read(tuple(slice(0, n) for n in image.info.shape)).values[..., 0]


def canonical(volume: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """As nibabel turns it, with axes ``z y x``."""
    turned = nib.as_closest_canonical(nib.Nifti1Image(volume.astype(np.float64), affine))
    return np.asarray(turned.dataobj).transpose(2, 1, 0)


def refused(folder: Path, **wanted: Any) -> str:
    with pytest.raises(InputError) as caught:
        opened(folder, **wanted)
    return str(caught.value)


SAGITTAL = np.array([[0, 0, 3.0, -5], [-1, 0, 0, 6], [0, -1, 0, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    "affine", [np.diag([-1.0, -1, 3, 1]), SAGITTAL, oblique()], ids=["ax", "sag", "oblique"]
)
def test_a_series_is_sorted_by_place(tmp_path: Path, affine: npt.NDArray[np.float64]) -> None:
    volume = phantom()
    write_series(tmp_path / "a" / "b", volume, affine, intercept=-24)
    image = opened(tmp_path)
    assert np.array_equal(whole(image), canonical(volume, affine) - 24)
    assert np.allclose(image.info.grid["affine"], affine, atol=1e-9)
    assert image.info.grid["native_shape"] == list(volume.shape)
    assert (image.info.format, image.info.kind, image.info.field) == ("dicom", "volume", "medical")
    window = (slice(2, 5), slice(1, 8), slice(3, 4))
    assert np.array_equal(image.read(window).values[..., 0], whole(image)[window])


def test_values_are_rescaled_slice_by_slice(tmp_path: Path) -> None:
    volume = phantom((3, 4, 5))

    def change(ds: pydicom.Dataset, k: int) -> None:
        ds.RescaleSlope = str(0.5 * (k + 1))

    write_series(tmp_path, volume, np.diag([-1.0, -1, 2, 1]), intercept=3, change=change)
    image = opened(tmp_path)
    expected = volume * (0.5 * np.arange(1, 6)) + 3
    assert image.info.dtype == "float32"
    assert np.array_equal(whole(image), canonical(expected, np.diag([-1.0, -1, 2, 1])))
    assert opened(tmp_path, reading=Reading(units="stored")).info.dtype == "int16"


@pytest.mark.parametrize(
    ("bits", "signed", "intercept", "dtype"),
    [(12, 0, -1024, "int16"), (16, 0, -1024, "int32"), (16, 1, 0, "int16"), (16, 0, 0, "uint16")],
)
def test_integers_stay_integers(tmp_path: Path, bits: int, signed: int, intercept: int, dtype: str) -> None:
    def change(ds: pydicom.Dataset, k: int) -> None:
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, signed

    write_series(tmp_path, abs(phantom((3, 4, 2))), np.eye(4), intercept=intercept, change=change)
    assert opened(tmp_path).info.dtype == dtype


def test_bits_above_the_value_are_dropped(tmp_path: Path) -> None:
    """Old scanners keep overlays there; a twelve-bit number may be negative."""
    stored = np.full((2, 2, 1), 0x7FFF, np.int16)

    def change(ds: pydicom.Dataset, k: int) -> None:
        ds.BitsStored, ds.HighBit = 12, 11

    write_series(tmp_path, stored, np.eye(4), change=change)
    assert (whole(opened(tmp_path)) == -1).all()


def test_padding_is_nodata(tmp_path: Path) -> None:
    volume = phantom((3, 4, 2))
    volume[0, 0] = -2000

    def change(ds: pydicom.Dataset, k: int) -> None:
        ds.add_new("PixelPaddingValue", "SS", -2000)

    write_series(tmp_path, volume, np.eye(4), change=change)
    image = opened(tmp_path)
    valid = image.read(tuple(slice(0, n) for n in image.info.shape)).valid
    assert np.array_equal(valid, canonical(volume, np.eye(4)) != -2000)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEGLSLossless])
def test_transfer_syntaxes_of_pydicom(tmp_path: Path, syntax: str) -> None:
    volume, written = phantom((16, 12, 3)), tmp_path / "in"
    for path in write_series(written, volume, np.eye(4)):
        ds = pydicom.dcmread(path)
        if syntax in (RLELossless, JPEGLSLossless):
            ds.compress(syntax)
        else:
            ds.file_meta.TransferSyntaxUID = syntax
            if syntax == ExplicitVRBigEndian:
                ds.PixelData = np.frombuffer(ds.PixelData, "<i2").astype(">i2").tobytes()
        fresh = pydicom.Dataset()
        fresh.update(ds)
        fresh.file_meta = ds.file_meta
        fresh.save_as(path, enforce_file_format=True, little_endian=syntax != ExplicitVRBigEndian, implicit_vr=syntax == ImplicitVRLittleEndian)  # fmt: skip
    assert np.array_equal(whole(opened(written)), canonical(volume, np.eye(4)))


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_transfer_syntaxes_of_itk(tmp_path: Path, compressor: str) -> None:
    """Lossless JPEG and JPEG 2000, written by ITK as scanners' archives do."""
    volume = phantom((16, 12, 3))
    for path in write_series(tmp_path, volume, np.eye(4), slope=2, intercept=-5):
        ds = pydicom.dcmread(path)
        image = SimpleITK.GetImageFromArray(ds.pixel_array[np.newaxis].astype(np.int16))
        writer = SimpleITK.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(tmp_path / "one.dcm"))
        writer.SetUseCompression(True)
        writer.SetCompressor(compressor)
        writer.Execute(image)
        packed = pydicom.dcmread(tmp_path / "one.dcm")
        ds.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
        ds.PixelData = packed.PixelData
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.save_as(path)
        (tmp_path / "one.dcm").unlink()
    assert ds.file_meta.TransferSyntaxUID.is_compressed
    assert np.array_equal(whole(opened(tmp_path)), canonical(volume * 2.0 - 5, np.eye(4)))


@pytest.mark.parametrize("name", ["0000", "IM-0001", "1.2.840.10"])
def test_a_slice_whose_name_has_no_ending_is_known_by_its_preamble(tmp_path: Path, name: str) -> None:
    volume = phantom()
    (path,) = write_series(tmp_path / "a", volume, np.eye(4), only=[3])
    path = path.rename(path.with_name(name))
    assert format_of(Source.of(path)).name == "dicom"
    assert np.array_equal(whole(opened(path)), canonical(volume[:, :, 3:4], np.eye(4)))


def test_a_preamble_is_not_asked_where_a_name_says_more(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, phantom(), np.eye(4), only=[0])
    tiff = path.rename(tmp_path / "slide.tif")
    assert format_of(Source.of(tiff)).name == "geotiff"
    for name, content in (("DICOMDIR", tiff.read_bytes()), ("notes", bytes(200)), ("short", b"x")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="no format known"):
            format_of(Source.of(tmp_path / name))


def test_one_file_with_many_frames(tmp_path: Path) -> None:
    volume, affine = phantom(), oblique()
    write_enhanced(tmp_path / "scan.dcm", volume, affine)
    image = opened(tmp_path / "scan.dcm")
    assert np.array_equal(whole(image), canonical(volume, affine) - 1024)
    assert np.allclose(image.info.grid["affine"], affine, atol=1e-9)


def test_time_points_become_an_axis(tmp_path: Path) -> None:
    affine, volumes = np.diag([-1.0, -1, 3, 1]), [phantom((4, 5, 3)) + 1000 * t for t in range(3)]
    for t, volume in enumerate(volumes):

        def change(ds: pydicom.Dataset, k: int, t: int = t) -> None:
            ds.TemporalPositionIdentifier = 10 - t  # backwards, and 10 comes after 9
            ds.SOPInstanceUID = f"1.2.{t}.{k}"

        write_series(tmp_path, volume, affine, name=lambda n, t=t: f"{n}{t}", change=change)  # type: ignore[misc]
    image = opened(tmp_path)
    assert image.info.axes == ("t", "z", "y", "x")
    read = image.read(tuple(slice(0, n) for n in image.info.shape)).values[..., 0]
    assert np.array_equal(read, np.stack([canonical(v, affine) for v in volumes[::-1]]))
    one = opened(tmp_path, reading=Reading(frame=2))
    assert np.array_equal(whole(one), canonical(volumes[0], affine))
    assert "--frame 3" in refused(tmp_path, reading=Reading(frame=3))


def test_a_tilted_gantry_leans(tmp_path: Path) -> None:
    affine = np.diag([-1.0, -1, 3, 1])
    affine[1, 2] = 0.8
    write_series(tmp_path, phantom(), affine)
    image = opened(tmp_path)
    assert np.allclose(image.info.grid["affine"], affine)
    assert image.info.grid["voxel_mm3"] == pytest.approx(3)
    assert "lean by 14.9°" in " ".join(image.info.notes)


def gap(folder: Path) -> None:
    write_series(folder, phantom(), np.diag([-1.0, -1, 3, 1]), only=[0, 1, 2, 3, 5, 6, 7, 8])


def double(folder: Path) -> None:
    write_series(folder, phantom(), np.eye(4))
    write_series(folder, phantom(), np.eye(4), name=lambda n: f"again{n}", only=[4])


def sizes(folder: Path) -> None:
    write_series(folder, phantom(), np.eye(4), only=range(6))
    write_series(folder, phantom((10, 10, 9)), np.eye(4), only=range(6, 9))


def planes(folder: Path) -> None:
    write_series(folder, phantom(), np.eye(4))
    write_series(folder, phantom(), SAGITTAL, name=lambda n: f"sag{n}", only=range(3))


def spacings(folder: Path) -> None:
    write_series(folder, phantom(), np.eye(4), only=range(6))
    write_series(folder, phantom(), np.diag([1.5, 1, 1, 1]), only=range(6, 9))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (gap, "1 gap (its slices are 3 mm apart, but not from 9.00 to 15.00 mm)"),
        (double, "several slices at the same place (at 4.00 mm)"),
        (sizes, "mixes slices of 11 × 14 (6 of them), 10 × 10 (3 of them) pixels"),
        (planes, "mixes slices of several orientations (9 axial, 3 sagittal)"),
        (spacings, "mixes slices of several pixel spacings"),
    ],
)
def test_what_is_no_volume_is_refused(tmp_path: Path, make: Any, says: str) -> None:
    make(tmp_path)
    assert says in refused(tmp_path)


def test_files_that_hold_no_slice_are_left_out(tmp_path: Path) -> None:
    volume = phantom()
    write_series(tmp_path / "scan", volume, np.eye(4), plant=PLANT)

    def scout(ds: pydicom.Dataset, k: int) -> None:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    def screenshot(ds: pydicom.Dataset, k: int) -> None:
        ds.PhotometricInterpretation, ds.SamplesPerPixel = "RGB", 3

    def unplaced(ds: pydicom.Dataset, k: int) -> None:
        del ds.ImagePositionPatient

    for n, change in enumerate((scout, screenshot, unplaced)):
        write_series(
            tmp_path / f"{n}",
            volume,
            np.eye(4),
            uid=f"{n}",
            number=9,
            change=change,
            only=[0, 1],
            plant=PLANT,
        )
    (tmp_path / "notes.txt").write_text(PLANT)
    short = write_series(tmp_path / "short", volume, np.eye(4), uid="short", only=[0])[0]
    short.write_bytes(short.read_bytes()[:-9])
    image = opened(tmp_path)
    assert np.array_equal(whole(image), canonical(volume, np.eye(4)))
    notes = " ".join(image.info.notes)
    for text in (
        "2 DICOM files of a localiser",
        "2 DICOM files in colours",
        "2 DICOM files without a place",
        "1 that is not DICOM",
        "1 DICOM file shorter than its header",
    ):
        assert text in notes
    assert PLANT not in notes + describe(image.info)


def test_the_count_of_files_left_out_is_a_sentence(tmp_path: Path) -> None:
    paths = write_series(tmp_path, phantom(), np.eye(4))
    (tmp_path / "DICOMDIR").write_bytes(paths[0].read_bytes())
    (tmp_path / "notes.txt").write_text("text")

    def empty(ds: pydicom.Dataset, k: int) -> None:
        del ds.PixelData

    write_series(tmp_path / "report", phantom(), np.eye(4), uid="report", change=empty, only=[0])
    (note,) = (n for n in opened(tmp_path).info.notes if n.startswith("Files left out"))
    left_out = note.removeprefix("Files left out: ").removesuffix(".").split(", ")
    assert sorted(left_out) == ["1 DICOM file without an image", "1 DICOMDIR", "1 that is not DICOM"]


def test_several_series_are_not_guessed(tmp_path: Path) -> None:
    first, second = phantom(), phantom()[::-1].copy()
    write_series(tmp_path / "1", first, np.eye(4), uid="one", number=3, plant=PLANT)
    write_series(tmp_path / "2", second, SAGITTAL, uid="two", number=4, modality="MR")
    says = refused(tmp_path)
    assert "CT, number 3, axial, 9 slices of 14 × 11" in says
    assert "MR, number 4, sagittal" in says
    assert PLANT not in says
    key = next(word for word in says.split() if word.startswith("s-"))
    uid = pydicom.dcmread(tmp_path / "1" / "IM00000").SeriesInstanceUID
    for layer in (key, "3", uid, f"{PLANT} series"):
        assert np.array_equal(
            whole(opened(tmp_path, reading=Reading(layer=layer))), canonical(first, np.eye(4))
        )
    assert "no series that --layer means" in refused(tmp_path, reading=Reading(layer="5"))


@pytest.mark.parametrize(
    "rule",
    [
        {"modality": "MR"},
        {"orientation": "sagittal"},
        {"minimum_thickness": 2.0},
        {"kernel": "B[34]0"},
        {"description": "soft"},
    ],
)
def test_the_card_chooses(tmp_path: Path, rule: dict[str, Any]) -> None:
    write_series(tmp_path / "1", phantom(), np.eye(4), uid="one", number=3)

    def change(ds: pydicom.Dataset, k: int) -> None:
        ds.ConvolutionKernel, ds.SeriesDescription = "B30f", "Abdomen SOFT"

    write_series(tmp_path / "2", phantom(), SAGITTAL, uid="two", number=4, modality="MR", change=change)
    image = opened(tmp_path, series=SeriesRule(**rule))
    assert np.allclose(image.info.grid["affine"], SAGITTAL)
    taken, left = (n for n in image.info.notes if n.startswith("Series"))
    assert taken.startswith("Series taken: s-")
    assert "(MR, number 4, sagittal, " in taken
    assert " mm thick)." in taken
    assert "SOFT" not in taken
    assert left.startswith("Series left out: s-")
    nothing = refused(tmp_path, series=SeriesRule(modality="PT"))
    assert "no series that the model takes" in nothing
    assert "not PT" in nothing


def channel(name: str, **rule: Any) -> ChannelCard:
    return ChannelCard(name=name, series=SeriesRule(description=name, **rule))


def test_channels_from_several_series(tmp_path: Path) -> None:
    volumes = {"T1": phantom(), "FLAIR": phantom() + 5}
    for n, (name, volume) in enumerate(volumes.items()):

        def change(ds: pydicom.Dataset, k: int, name: str = name) -> None:
            ds.SeriesDescription = f"brain {name} 3d"

        write_series(tmp_path / name, volume, oblique(), uid=name, number=n, modality="MR", change=change)
    image = opened(tmp_path, channels=(channel("FLAIR"), channel("T1")))
    assert image.info.channels == ("FLAIR", "T1")
    values = image.read(tuple(slice(0, n) for n in image.info.shape)).values
    assert np.array_equal(values[..., 0], canonical(volumes["FLAIR"], oblique()))
    assert np.array_equal(values[..., 1], canonical(volumes["T1"], oblique()))

    three = (channel("FLAIR"), channel("T1"), channel("T2"))
    assert "is incomplete: no series for T2" in refused(tmp_path, channels=three)
    may = (*three[:2], channel("T2", may_miss=True))
    assert "--fill-missing" in refused(tmp_path, channels=may)
    filled = opened(tmp_path, channels=may, reading=Reading(missing=True))
    assert filled.info.suspicions == ("The input is incomplete: zeros stand for T2.",)
    assert not filled.read(tuple(slice(0, n) for n in filled.info.shape)).values[..., 2].any()

    write_series(tmp_path / "T2", phantom(), np.eye(4), uid="T2", number=7, change=lambda ds, k: setattr(ds, "SeriesDescription", "T2"))  # fmt: skip
    assert "do not lie on one grid" in refused(tmp_path, channels=three)


def header(**changes: Any) -> Any:
    def change(ds: pydicom.Dataset, k: int) -> None:
        for name, value in changes.items():
            setattr(ds, name, value)

    return change


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "change",
    [
        header(Rows=65535, Columns=65535),
        header(Rows=0),
        header(NumberOfFrames=2**31 - 1),
        header(NumberOfFrames=-1),
        header(PixelSpacing=["-1", "1"]),
        header(PixelSpacing=["0", "0"]),
        header(BitsAllocated=64),
        header(BitsStored=17),
        header(HighBit=3),
        header(RescaleSlope="0"),
        header(ImageOrientationPatient=["1", "0", "0", "1", "0", "0"]),
        header(ImagePositionPatient=["1e300", "0", "0"]),
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, change: Any) -> None:
    write_series(tmp_path, phantom((5, 4, 3)), np.eye(4), change=change, plant=PLANT)
    assert PLANT not in refused(tmp_path)


def test_a_header_nested_without_end_is_refused(tmp_path: Path) -> None:
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    for path in write_series(tmp_path, phantom((5, 4, 3)), np.eye(4)):
        data = path.read_bytes()
        meta = 144 + int.from_bytes(data[140:144], "little")
        path.write_bytes(data[:meta] + opening * 5000 + data[meta:])
    assert "3 DICOM files with a damaged header" in refused(tmp_path)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    for path in write_series(
        tmp_path, phantom((5, 4, 3)), np.eye(4), change=header(PixelSpacing=["1.25", "1.25"])
    ):
        path.write_bytes(path.read_bytes().replace(b"1.25\\1.25", b"NaN \\inf "))
    assert "no slice that can be read" in refused(tmp_path)


def test_a_corrupt_slice_is_said_when_it_is_read(tmp_path: Path) -> None:
    paths = write_series(tmp_path, phantom((16, 12, 3)), np.eye(4), plant=PLANT)
    ds = pydicom.dcmread(paths[1])
    ds.compress(RLELossless)
    ds.save_as(paths[1])
    data = bytearray(paths[1].read_bytes())
    data[-300:-30] = bytes(270)
    paths[1].write_bytes(data)
    image = opened(tmp_path)
    image.read((slice(0, 1), slice(0, 12), slice(0, 16)))
    with pytest.raises(InputError, match=r"slice at .* mm is corrupt") as caught:
        image.read((slice(1, 2), slice(0, 12), slice(0, 16)))
    assert PLANT not in str(caught.value)
