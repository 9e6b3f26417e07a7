"""Bad input and odd input through the command: one sentence and a code, or a true result."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from tests.flows.conftest import run_many

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

Bundles = Callable[..., Path]


def pixels(height: int = 60, width: int = 70) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (height, width)).astype("uint8")


def tiff(path: Path, values: np.ndarray, **profile: Any) -> Path:
    """``values`` is ``(rows, columns)`` or ``(bands, rows, columns)``."""
    values = values[None] if values.ndim == 2 else values
    profile = {"crs": "EPSG:32632", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)} | profile
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count, dtype=values.dtype.name, **profile
    ) as target:
        target.write(values)
    return path


def nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.Nifti1Image(values, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine).to_filename(path)
    return path


def cut(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def made(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def header_only(path: Path, *, width: int, height: int, samples: int = 1) -> Path:
    """A TIFF of nothing but a first directory: one 8-bit strip that is not there."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8),
            (277, 3, samples), (278, 4, max(height, 1)), (279, 4, 1)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return made(path, struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags)) + entries + bytes(4))


def blank(path: Path) -> Path:
    path.mkdir()
    return path


@dataclass(frozen=True)
class Bad:
    """A bad image: its name, how it is made, the exit code and words of the sentence."""

    name: str
    make: Callable[[Path], object]
    words: str
    options: tuple[object, ...] = ()
    code: int = 3
    model: dict[str, Any] | None = None


def good(path: Path) -> Path:
    return tiff(path, pixels())


def nothing(path: Path) -> None:
    """There is no file."""


BAD = {
    "missing": Bad("x.tif", nothing, "does not exist"),
    "directory": Bad("x.tif", blank, "is a folder"),
    "text": Bad("x.tif", lambda p: made(p, b"not an image\n" * 99), "not a TIFF"),
    "empty": Bad("x.tif", lambda p: made(p, b""), "empty"),
    "unknown format": Bad("x.xyz0", lambda p: made(p, b"no image"), "no format known here"),
    "truncated TIFF": Bad("x.tif", lambda p: cut(tiff(p, pixels(300, 300)), 0.6), "truncated"),
    "truncated .nii.gz": Bad(
        "x.nii.gz", lambda p: cut(nifti(p, pixels(40, 50).reshape(10, 10, 20)), 0.7), "truncated",
        model={"ndims": (3,)},
    ),
    "no gzip": Bad("x.nii.gz", lambda p: made(p, b"no gzip at all" * 50), "gzip", model={"ndims": (3,)}),
    "gzip of text": Bad(
        "x.nii.gz", lambda p: made(p, gzip.compress(b"text" * 200)), "NIfTI", model={"ndims": (3,)}
    ),
    "complex": Bad("x.tif", lambda p: tiff(p, pixels().astype("complex64")), "complex"),
    "a million by a million": Bad(
        "x.tif", lambda p: header_only(p, width=10**6, height=10**6), "1000000 × 1000000"
    ),
    "no pixels": Bad("x.tif", lambda p: header_only(p, width=0, height=0), "0 × 0"),
    "no bands": Bad("x.tif", lambda p: header_only(p, width=9, height=9, samples=0), "0 bands"),
    "NaN everywhere": Bad(
        "x.tif", lambda p: tiff(p, np.full((60, 70), np.nan, "float32")), "no valid pixel"
    ),
    "all nodata": Bad("x.tif", lambda p: tiff(p, np.zeros((60, 70), "uint8"), nodata=0), "no valid pixel"),
    "too many channels": Bad("x.tif", lambda p: tiff(p, np.stack([pixels()] * 3)), "3 channels"),
    "too few channels": Bad("x.tif", good, "wants 4", model={"channels": 4}),
    "3-D model, 2-D image": Bad("x.tif", good, "2 spatial axes", model={"ndims": (3,)}),
    "tile off the stride": Bad(
        "x.tif", good, "multiple of its stride 16", ("--tile", 100), 2, {"stride": 16, "tile": (64, 64)}
    ),
    "tile of three sizes": Bad("x.tif", good, "--tile", ("--tile", "64,64,64"), 2),
    "tile of letters": Bad("x.tif", good, "not a size", ("--tile", "big"), 2),
    "overlap of a tile": Bad("x.tif", good, "--overlap", ("--tile", 64, "--overlap", 64), 2),
    "item outside": Bad("x.tif", good, "item", ("--item", "../x"), 2),
    "item in a folder": Bad("x.tif", good, "item", ("--item", "a/b"), 2),
    "hidden item": Bad("x.tif", good, "item", ("--item", ".segflow"), 2),
}  # fmt: skip


def assert_refused(done: Any, *, code: int, words: str, out: Path) -> None:
    assert done.code == code, done.error + done.output
    assert done.answer == {"status": "failed", "error": done.answer["error"], "exit_code": code}
    (sentence,) = done.complaints
    assert sentence == f"segflow: {done.answer['error']}"
    assert words in sentence
    assert "Traceback" not in done.error
    published = list(out.iterdir()) if out.is_dir() else []
    assert not [p for p in published if p.name != ".segflow"]
    left = [p for p in out.glob(".segflow/**/*") if p.is_file()]
    assert {p.name for p in left} <= {"owner.lock", "owner.json"}


@pytest.fixture(scope="module")
def refusals(
    segflow: Any, make_bundle: Bundles, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Any, Path, Path]]:
    """Every case's answer, image and output folder."""
    commands, places = [], []
    for bad in BAD.values():
        folder = tmp_path_factory.mktemp("bad")
        image, out = folder / bad.name, folder / "out"
        bad.make(image)
        bundle = make_bundle((100.5,), **(bad.model or {}))
        commands.append(("run", image, "--model", bundle, "--out", out, "--direct", "--json", *bad.options))
        places.append((image, out))
    done = run_many(segflow, commands, tmp_path_factory.mktemp("refused"))
    return {case: (d, *place) for case, d, place in zip(BAD, done, places, strict=True)}


@pytest.mark.parametrize("case", BAD)
def test_refused_with_one_sentence(case: str, refusals: dict[str, tuple[Any, Path, Path]]) -> None:
    done, image, out = refusals[case]
    bad = BAD[case]
    assert_refused(done, code=bad.code, words=bad.words, out=out)
    if bad.code == 3:
        assert str(image) in done.error


@pytest.mark.parametrize("option", [("--workers", 0), ("--engine", "abacus"), ("--unheard-of",)])
def test_impossible_options_are_usage_errors(
    option: tuple[object, ...], segflow: Any, tmp_path: Path
) -> None:
    done = segflow.run(good(tmp_path / "x.tif"), "water-ndwi", tmp_path / "out", *option)
    assert (done.code, done.output) == (2, "")
    assert str(option[0]) in done.error
    assert not (tmp_path / "out").exists()


def test_an_unknown_bundle_gets_a_suggestion(segflow: Any, tmp_path: Path) -> None:
    done = segflow.run(good(tmp_path / "x.tif"), "water-ndwy", tmp_path / "out")
    assert_refused(done, code=3, words="did you mean 'water-ndwi'?", out=tmp_path / "out")


def spoil_method(bundle: Path) -> None:
    (bundle / "method.json").write_text((bundle / "method.json").read_text().replace("8.0", "9.0"))


def spoil_card(bundle: Path) -> None:
    (bundle / "model.json").write_text("{")


def spoil_golden(bundle: Path) -> None:
    (bundle / "golden.npz").unlink()


@pytest.mark.parametrize("spoil", [spoil_method, spoil_card, spoil_golden])
def test_a_broken_bundle_is_refused(
    spoil: Callable[[Path], None], segflow: Any, make_bundle: Bundles, tmp_path: Path
) -> None:
    bundle = make_bundle((100.5,))
    spoil(bundle)
    done = segflow.run(good(tmp_path / "x.tif"), bundle, tmp_path / "out")
    assert_refused(done, code=3, words=str(bundle), out=tmp_path / "out")


def test_a_folder_that_is_no_bundle_is_refused(segflow: Any, tmp_path: Path) -> None:
    done = segflow.run(good(tmp_path / "x.tif"), tmp_path, tmp_path / "out")
    assert_refused(done, code=3, words="not a bundle", out=tmp_path / "out")


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/segflow/out"])
def test_an_output_that_cannot_be_written(
    where: str, segflow: Any, make_bundle: Bundles, tmp_path: Path
) -> None:
    if where.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("needs /proc, where nobody can make a folder")
    (tmp_path / "file").write_text("precious")
    out = tmp_path / where
    done = segflow.run(good(tmp_path / "x.tif"), make_bundle((100.5,)), out)
    assert_refused(done, code=1, words="cannot write", out=out)
    assert "--out" in done.error
    assert (tmp_path / "file").read_text() == "precious"


def test_a_file_under_the_items_name_is_left_alone(
    segflow: Any, make_bundle: Bundles, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "x").write_text("precious")
    done = segflow.run(good(tmp_path / "x.tif"), make_bundle((100.5,)), out)
    assert done.code == 3
    (sentence,) = done.complaints
    assert sentence.startswith(f"segflow: {out / 'x'} is a file")
    assert (out / "x").read_text() == "precious"


def test_a_full_disk_is_said_and_survived(segflow: Any, make_bundle: Bundles, tmp_path: Path) -> None:
    """A limit on file sizes makes writes fail half way (EFBIG, with its signal ignored), as a full disk does."""
    image = tiff(tmp_path / "x.tif", np.random.default_rng(1).integers(0, 255, (900, 900)).astype("uint8"))
    bundle, out = make_bundle((100.5,), tile=(128, 128), overlap=0.5, steepness=0.01), tmp_path / "out"
    command = ["run", image, "--model", bundle, "--out", out, "--direct", "--json"]
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY)); "
        "import flows.cli; flows.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, *map(str, command)],
        env={**segflow.environment, "NUMBA_CACHE_DIR": str(tmp_path / "compiled")},
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "compiled code is not kept" in done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("segflow:")]
    assert "cannot write" in sentence
    assert json.loads(done.stdout)["exit_code"] == 1
    assert not (out / "x").exists()
    again = segflow(*command)
    assert (again.code, again.answer["status"]) == (0, "done"), again.error


def test_debug_shows_the_traceback(segflow: Any, make_bundle: Bundles, tmp_path: Path) -> None:
    done = segflow.run(tmp_path / "x.tif", make_bundle(), tmp_path / "out", "--debug")
    assert done.code == 3
    assert "Traceback" in done.error
    assert "segflow: " in done.error


FLOATS = np.random.default_rng(2).normal(100, 50, (40, 45))
ROTATED = Affine(8.66, -5.0, 5e5, -5.0, -8.66, 5e6)
ODD: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "one pixel": (np.array([[200]], "uint8"), {}),
    "one row": (pixels(1, 130), {}),
    "one column": (pixels(130, 1), {}),
    "smaller than a tile": (pixels(5, 7), {}),
    "rotated": (pixels(), {"transform": ROTATED}),
    "south up": (pixels(), {"transform": Affine(10, 0, 5e5, 0, 10, 5e6)}),
    "no CRS": (pixels(), {"crs": None, "transform": Affine(2, 0, 1, 0, -2, 1)}),
    "no grid": (pixels(), {"crs": None, "transform": None}),
    "over the antimeridian": (pixels(), {"crs": "EPSG:4326", "transform": Affine(0.1, 0, 177, 0, -0.1, 3)}),
    "global": (pixels(36, 72), {"crs": "EPSG:4326", "transform": Affine(5, 0, -180, 0, -5, 90)}),
    "int8": ((pixels().astype("int16") // 2).astype("int8"), {}),
    "float64": (np.where(FLOATS > 180, np.nan, FLOATS), {}),
    "uint32": (pixels().astype("uint32"), {}),
}


@pytest.fixture(scope="module")
def odd_runs(
    segflow: Any, make_bundle: Bundles, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Any, Path]]:
    """Every odd image's run and image."""
    raster = make_bundle((60.5,), tile=(32, 32), overlap=0.25)
    volume = make_bundle((60.5,), ndims=(2, 3), tile=(8, 8, 8))
    commands, images = [], []
    for case in (*ODD, *ODD_VOLUMES):
        folder = tmp_path_factory.mktemp("odd")
        if case in ODD:
            values, profile = ODD[case]
            model, image = raster, tiff(folder / "x.tif", values, **profile)
        else:
            model = volume
            image = nifti(folder / "x.nii.gz", ODD_VOLUMES[case], np.diag([-2.0, 3.0, 4.0, 1.0]))
        commands.append(("run", image, "--model", model, "--out", folder / "out", "--direct", "--json"))
        images.append(image)
    done = run_many(segflow, commands, tmp_path_factory.mktemp("runs"))
    return {case: (d, image) for case, d, image in zip((*ODD, *ODD_VOLUMES), done, images, strict=True)}


def expected_codes(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(values), values > 60.5, 255)


@pytest.mark.parametrize("case", ODD)
def test_odd_rasters_come_back_on_their_grid(case: str, odd_runs: dict[str, tuple[Any, Path]]) -> None:
    done, image = odd_runs[case]
    assert (done.code, done.answer["status"]) == (0, "done"), done.error
    assert done.complaints == []
    with rasterio.open(image) as source, rasterio.open(done.folder / "mask.tif") as mask:
        assert tuple(mask.transform) == tuple(source.transform)
        assert (mask.crs, mask.shape) == (source.crs, source.shape)
        np.testing.assert_array_equal(mask.read(1), expected_codes(ODD[case][0]))


ODD_VOLUMES = {
    "one slice without a third axis": pixels(20, 30),
    "one voxel": np.full((1, 1, 1), 200, "uint8"),
    "flat": pixels(5, 7).reshape(5, 1, 7),
    "one frame": pixels(6, 20).reshape(6, 5, 4, 1),
    "holes": np.where(pixels(6, 20).reshape(6, 5, 4) > 200, np.nan, pixels(6, 20).reshape(6, 5, 4)).astype("f4"),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD_VOLUMES)
def test_odd_volumes_come_back_on_their_grid(case: str, odd_runs: dict[str, tuple[Any, Path]]) -> None:
    done, image = odd_runs[case]
    assert (done.code, done.answer["status"]) == (0, "done"), done.error
    assert done.complaints == []
    mask = nib.load(done.folder / "mask.nii.gz")
    assert mask.shape == ODD_VOLUMES[case].shape
    np.testing.assert_array_equal(mask.affine, nib.load(image).affine)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), expected_codes(ODD_VOLUMES[case]))
