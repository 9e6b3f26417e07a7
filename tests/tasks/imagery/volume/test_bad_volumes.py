"""Bad volumes are refused with one sentence and a remedy, and leave nothing in the scratch folder."""

from __future__ import annotations

import gzip
import json
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import tifffile
import zarr

from tasks.errors import InputError
from tasks.imagery.open import open_image
from tasks.imagery.wanted import Reading, Wanted

Maker = Callable[[Path], Any]
DATA = np.arange(60, dtype="int16").reshape(3, 4, 5)
NRRD = "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 4 3\n"
NRRD += "space directions: (1,0,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\nendian: little\n"
NRRD += "encoding: {encoding}\nspace origin: (0,0,0)\n{more}\n"
META = "ObjectType = Image\nNDims = 3\nBinaryData = {binary}\nBinaryDataByteOrderMSB = False\nCompressedData = {packed}\n"
META += "Offset = 0 0 0\nElementSpacing = {spacing}\nDimSize = {size}\nElementType = {kind}\nElementDataFile = {file}\n"


def nrrd(path: Path, encoding: str = "raw", more: str = "", data: bytes | None = None, **swap: str) -> Path:
    text = NRRD.format(encoding=encoding, more=more)
    for old, new in swap.items():
        line = next(n for n in text.splitlines() if n.startswith(old.replace("_", " ")))
        text = text.replace(line, new)
    path.write_bytes(text.encode() + (DATA.tobytes() if data is None else data))
    return path


def meta(path: Path, data: bytes | None = None, **fields: str) -> Path:
    given = {"binary": "True", "packed": "False", "spacing": "1 1 1", "size": "5 4 3", "kind": "MET_SHORT"}
    text = META.format(**(given | {"file": "LOCAL"} | fields))
    path.write_bytes(text.encode() + (DATA.tobytes() if data is None else data))
    return path


def pair(
    path: Path, *, magic: bytes = b"ni1\0", keep: int = 10**6, remove: bool = False, **fields: Any
) -> Path:
    nib.nifti1.Nifti1Pair(DATA, np.eye(4)).to_filename(path.with_suffix(".hdr"))
    raw = bytearray(path.with_suffix(".hdr").read_bytes())
    struct.pack_into("4s", raw, 344, magic)
    for at, (layout, *values) in fields.items():
        struct.pack_into(layout, raw, int(at[1:]), *values)
    path.with_suffix(".hdr").write_bytes(raw)
    image = path.with_suffix(".img")
    image.write_bytes(image.read_bytes()[:keep])
    if remove:
        image.unlink()
    return path.with_suffix(".hdr")


def nifti(path: Path, *, tail: bytes = b"", swap: Callable[[bytearray], Any] = lambda raw: None) -> Path:
    plain = path.with_name("plain.nii")
    nib.Nifti1Image(DATA, np.eye(4)).to_filename(plain)
    raw = bytearray(plain.read_bytes())
    plain.unlink()
    swap(raw)
    path.write_bytes(gzip.compress(bytes(raw)) + tail if path.suffix == ".gz" else bytes(raw))
    return path


def ngff(path: Path, about: dict[str, Any] | None = None, **options: Any) -> Path:
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    array = group.create_array("0", shape=(4, 20, 20), chunks=(2, 20, 20), **({"dtype": "u2"} | options))
    array[...] = 1
    scale = {"version": "0.4", "axes": [{"name": a} for a in "zyx"], "datasets": [{"path": "0"}]}
    group.attrs.update({"multiscales": [scale | (about or {})]})
    return path


def pickled(path: Path) -> Path:
    """An array whose metadata ask for code to be run."""
    zarr.create_array(str(path), shape=(4, 4), chunks=(4, 4), dtype="u2", zarr_format=2)
    about = json.loads((path / ".zarray").read_text())
    about["filters"], about["dtype"], about["fill_value"] = [{"id": "pickle"}], "|O", 0
    (path / ".zarray").write_text(json.dumps(about))
    return path


def ome(path: Path, change: Callable[[str], str]) -> Path:
    """An OME-TIFF whose description is another."""
    with tifffile.TiffWriter(path) as out:
        xml = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="P:0" '
        xml += 'DimensionOrder="XYZCT" Type="uint8" SizeX="20" SizeY="20" SizeZ="2" SizeC="1" SizeT="1"><Channel '
        xml += 'ID="C:0" SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
        out.write(np.zeros((2, 20, 20), "u1"), description=change(xml).encode(), metadata=None)
    return path


def several(xml: str) -> str:
    parts = [
        f'<TiffData IFD="0" FirstZ="{z}"><UUID FileName="{n}">urn:uuid:{n}</UUID></TiffData>'
        for z, n in enumerate("ab")
    ]
    return xml.replace("<TiffData/>", "".join(parts))


CASES: dict[str, tuple[str, Maker, str]] = {
    "analyze": ("x.hdr", lambda p: pair(p, magic=b"\0\0\0\0"), "left from right"),
    "pair without image": ("x.hdr", lambda p: pair(p, remove=True), "no format known"),
    "short pair": ("x.hdr", lambda p: pair(p, keep=100), "claims 120 bytes but holds 100"),
    "pair of NaN": ("x.hdr", lambda p: pair(p, _280=("<12f", *[np.nan] * 12)), "not finite"),
    "pair elsewhere": ("x.hdr", lambda p: pair(p, _108=("<f", -8.0)), "begin at byte"),
    "tail": ("x.nii.gz", lambda p: nifti(p, tail=b"more"), "after the end"),
    "NaN offset": ("x.nii", lambda p: nifti(p, swap=lambda r: struct.pack_into("<f", r, 108, np.nan)), "byte nan"),
    "NaN slope": ("x.nii", lambda p: nifti(p, swap=lambda r: struct.pack_into("<2f", r, 112, 1, np.nan)), "scaling"),
    "endless offset": ("x.nii", lambda p: nifti(p, swap=lambda r: struct.pack_into("<f", r, 108, np.inf)), "byte inf"),
    "outside": ("x.nhdr", lambda p: nrrd(p, more="data file: ../secret.raw\n"), "outside its own folder"),
    "absolute": ("x.nhdr", lambda p: nrrd(p, more="data file: /etc/hostname\n"), "outside its own folder"),
    "list": ("x.nhdr", lambda p: nrrd(p, more="data file: LIST\n"), "several files"),
    "numbered": ("x.nhdr", lambda p: nrrd(p, more="data file: x%02d.raw 1 3 1\n"), "several files"),
    "not there": ("x.nhdr", lambda p: nrrd(p, more="data file: x.raw\n"), "not beside it"),
    "meta outside": ("x.mhd", lambda p: meta(p, file="../x.raw"), "outside its own folder"),
    "meta address": ("x.mhd", lambda p: meta(p, file="http://host/x.raw"), "outside its own folder"),
    "meta list": ("x.mhd", lambda p: meta(p, file="LIST"), "several files"),
    "ascii": ("x.nrrd", lambda p: nrrd(p, encoding="ascii"), "stores its voxels as ascii"),
    "short": ("x.nrrd", lambda p: nrrd(p, data=b"12"), "claims 120 bytes"),
    "not packed": ("x.nrrd", lambda p: nrrd(p, encoding="gzip"), "not compressed as its header"),
    "half packed": ("x.nrrd", lambda p: nrrd(p, encoding="gzip", data=gzip.compress(DATA.tobytes())[:-20]), "truncated"),
    "NaN space": ("x.nrrd", lambda p: nrrd(p, space_directions="space directions: (nan,0,0) (0,1,0) (0,0,1)"), "x.nrrd"),
    "flat space": ("x.nrrd", lambda p: nrrd(p, space_directions="space directions: (0,0,0) (0,1,0) (0,0,1)"), "x.nrrd"),
    "giant": ("x.nrrd", lambda p: nrrd(p, sizes="sizes: 50000 50000 50000"), "voxels"),
    "no end": ("x.nrrd", lambda p: p.write_bytes(b"NRRD0004\n" + b"# x\n" * 300_000) and p, "without an end"),
    "text": ("x.nrrd", lambda p: p.write_text("not an image\n\n") and p, "x.nrrd"),
    "twice": ("x.nrrd", lambda p: nrrd(p, more="encoding: raw\n"), "twice"),
    "meta short": ("x.mha", lambda p: meta(p, data=b"12"), "claims 120 bytes"),
    "meta text": ("x.mha", lambda p: meta(p, binary="False"), "as text"),
    "meta bomb": ("x.mha", lambda p: meta(p, packed="True", size="5000 5000 900", data=zlib.compress(b"")), "cannot hold"),
    "meta zero": ("x.mha", lambda p: meta(p, size="5 0 3"), "x.mha"),
    "meta flat": ("x.mha", lambda p: meta(p, spacing="1 nan 1"), "x.mha"),
    "axes": ("x.zarr", lambda p: ngff(p, {"axes": [{"name": a} for a in "qyx"]}), "only t, c, z, y, x"),
    "transform": ("x.zarr", lambda p: ngff(p, {"coordinateTransformations": [{"type": "affine"}]}), "not known here"),
    "NaN scale": ("x.zarr", lambda p: ngff(p, {"coordinateTransformations": [{"type": "scale", "scale": [1, float("nan"), 1]}]}), "finite"),
    "level gone": ("x.zarr", lambda p: ngff(p, {"datasets": [{"path": "7"}]}), "as Zarr"),
    "level outside": ("x.zarr", lambda p: ngff(p, {"datasets": [{"path": "../../y"}]}), "x.zarr"),
    "words": ("x.zarr", lambda p: ngff(p, dtype="S4"), "not intensities"),
    "pickle": ("x.zarr", pickled, "x.zarr"),
    "many axes": ("x.zarr", lambda p: zarr.create_array(str(p), shape=(1,) * 6, dtype="u1") and p, "cannot be known"),
    "empty group": ("x.zarr", lambda p: (zarr.open_group(str(p), mode="w"), p)[1], "is nothing"),
    "bad metadata": ("x.zarr", lambda p: (p.mkdir(), (p / "zarr.json").write_text("{"))[0] or p, "as Zarr"),
    "set": ("x.ome.tif", lambda p: ome(p, several), "2 files of a set"),
    "entities": ("x.ome.tif", lambda p: ome(p, lambda x: '<!DOCTYPE a [<!ENTITY b "c">]>' + x), "entities"),
    "no tiff": ("x.ome.tif", lambda p: p.write_text("not an image") and p, "TIFF"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused(tmp_path: Path, case: str) -> None:
    name, make, words = CASES[case]
    folder = tmp_path / "in"
    folder.mkdir()
    path = make(folder / name)
    (tmp_path / "secret.raw").write_bytes(bytes(200))
    scratch = tmp_path / "scratch"
    with pytest.raises(InputError) as caught:
        open_image(path, scratch=scratch)
    message = str(caught.value)
    assert words in message
    assert str(folder / "x") in message
    assert "\n" not in message
    assert message.endswith(".")
    assert not list(scratch.glob("*"))


def test_a_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(200))
    (tmp_path / "in" / "x.raw").symlink_to(tmp_path / "secret.raw")
    path = nrrd(tmp_path / "in" / "x.nhdr", more="data file: x.raw\n")
    with pytest.raises(InputError, match="outside its own folder"):
        open_image(path, scratch=tmp_path)


def test_modalities_that_do_not_belong_together(tmp_path: Path) -> None:
    def volume(name: str, shape: tuple[int, ...] = (3, 4, 5), affine: Any = None) -> Path:
        nib.Nifti1Image(np.zeros(shape, "u1"), np.eye(4) if affine is None else affine).to_filename(
            tmp_path / name
        )
        return tmp_path / name

    first = volume("a.nii")
    cases = {
        "3 × 4 × 6 voxels instead of 3 × 4 × 5": volume("b.nii", (3, 4, 6)),
        "orientation LAS instead of RAS": volume("c.nii", affine=np.diag([-1, 1, 1, 1])),
        "mm elsewhere": volume("d.nii", affine=np.diag([1, 1, 1.01, 1])),
        "axes t z y x": volume("e.nii", (3, 4, 5, 2)),
    }
    for words, other in cases.items():
        with pytest.raises(InputError, match=re.escape(words)):
            open_image([first, other], scratch=tmp_path)
    nearly = np.eye(4) + 1e-5
    nearly[3] = [0, 0, 0, 1]
    open_image([first, volume("f.nii", affine=nearly)], scratch=tmp_path).close()


def test_a_damaged_chunk_is_said_and_others_are_read(tmp_path: Path) -> None:
    path = ngff(tmp_path / "x.zarr")
    chunk = next(p for p in path.rglob("*") if p.is_file() and p.as_posix().endswith(("0/1.0.0", "0/1/0/0")))
    chunk.write_bytes(b"damaged")
    image = open_image(path, scratch=tmp_path)
    assert (image.read((slice(0, 2), slice(0, 20), slice(0, 20))).values == 1).all()
    with pytest.raises(InputError, match=r"z 2–4.*fetch it again\."):
        image.read((slice(2, 4), slice(0, 20), slice(0, 20)))
    image.close()
    with pytest.raises(ValueError, match="is closed"):
        image.read((slice(0, 2), slice(0, 20), slice(0, 20)))


def test_layers_are_found_or_listed(tmp_path: Path) -> None:
    root = zarr.open_group(str(tmp_path / "plate.zarr"), mode="w", zarr_format=2)
    root.create_group("labels")
    ngff(tmp_path / "plate.zarr" / "0")
    ngff(tmp_path / "plate.zarr" / "1")

    def opened(layer: str | None) -> Any:
        return open_image(
            tmp_path / "plate.zarr", scratch=tmp_path, wanted=Wanted(reading=Reading(layer=layer))
        )

    for layer in ("1", "1/0"):
        assert opened(layer).info.shape == (4, 20, 20)
    for layer in (None, "7", "../x"):
        with pytest.raises(InputError, match="layer"):
            opened(layer)


def test_geotiffs_stay_geotiffs(tmp_path: Path, shared_data: Path) -> None:
    overviews = tmp_path / "x.tif"
    with tifffile.TiffWriter(overviews) as out:
        out.write(np.zeros((64, 64), "u1"))
        out.write(np.zeros((32, 32), "u1"), subfiletype=1)
    for path in (overviews, shared_data / "rasterio" / "RGB.byte.tif"):
        assert open_image(path, scratch=tmp_path).info.format == "geotiff"


def test_a_missing_chunk_holds_the_fill_value(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    zarr.create_array(str(path), shape=(2, 6, 6), chunks=(1, 6, 6), dtype="u2", fill_value=7)
    image = open_image(path, scratch=tmp_path)
    pixels = image.read((slice(0, 2), slice(0, 6), slice(0, 6)))
    assert (pixels.values == 7).all()
    assert pixels.valid.all()


def test_the_digest_holds_the_data_file(tmp_path: Path) -> None:
    from tasks.publishing.digests import input_digest

    made = {
        "x.nhdr": nrrd(tmp_path / "x.nhdr", more="data file: x.raw\n", data=b""),
        "y.mhd": meta(tmp_path / "y.mhd", file="x.raw", data=b""),
        "z.hdr": pair(tmp_path / "z.hdr"),
    }
    (tmp_path / "x.raw").write_bytes(DATA.tobytes())
    before = {n: input_digest(p, cache=tmp_path / "cache") for n, p in made.items()}
    for other in ("x.raw", "z.img"):
        (tmp_path / other).write_bytes(bytes((tmp_path / other).stat().st_size))
    after = {n: input_digest(p, cache=tmp_path / "cache") for n, p in made.items()}
    assert all(before[n] != after[n] for n in made)
    assert SimpleITK.ReadImage(str(made["x.nhdr"])).GetSize() == (5, 4, 3)


def test_what_is_inflated_twice_at_once_is_whole(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from tasks.imagery.volume.inflate import inflate

    data = np.random.default_rng(0).integers(0, 99, 3_000_000, dtype=np.uint8).tobytes()
    path = tmp_path / "x.gz"
    # Members one after the other, and zeros at the end, are one stream.
    path.write_bytes(gzip.compress(data[:1_000_001]) + gzip.compress(data[1_000_001:]) + bytes(700))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: inflate(path, tmp_path / "s", size=len(data)), range(8)))
    assert len(set(found)) == 1
    assert found[0].read_bytes() == data
    assert list((tmp_path / "s").iterdir()) == [found[0]]


def test_a_killed_inflation_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(200_000_000), 1))
    code = "import sys; from pathlib import Path; from tasks.imagery.volume.inflate import inflate; "
    code += "inflate(Path(sys.argv[1]), Path(sys.argv[2]), size=200_000_000)"
    scratch = tmp_path / "s"
    with subprocess.Popen([sys.executable, "-c", code, str(path), str(scratch)]) as process:
        while process.poll() is None and not any(p.stat().st_size for p in scratch.glob("*.part")):
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -9
    assert not list(scratch.glob("*.nii"))


def test_frames_that_are_not_there(tmp_path: Path) -> None:
    nib.Nifti1Image(np.zeros((3, 4, 5, 2), "u1"), np.eye(4)).to_filename(tmp_path / "x.nii")
    for frame, path in ((2, tmp_path / "x.nii"), (1, ngff(tmp_path / "y.zarr"))):
        with pytest.raises(InputError, match=f"--frame {frame}"):
            open_image(path, scratch=tmp_path, wanted=Wanted(reading=Reading(frame=frame)))
    # A frame that is asked for is one even where the model has as many channels as there are frames.
    wanted = Wanted(count=2, reading=Reading(frame=1))
    assert len(open_image(tmp_path / "x.nii", scratch=tmp_path, wanted=wanted).info.channels) == 1


@pytest.mark.parametrize("address", ["s3://bucket/cells.ome.zarr", "https://host/cells.ome.tif"])
def test_addresses_are_to_be_copied_first(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError, match="copy it first"):
        open_image(address, scratch=tmp_path)
