"""``segflow evaluate`` from the command line, on files small enough to count by hand."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from sklearn import metrics as sk
from typer.testing import CliRunner

from flows.cli import app
from segmodels.bundles.card import ChannelCard, ClassCard
from tasks.datasets.dataset import IGNORE, Dataset, DatasetItem
from tasks.imagery.open import open_image

RNG = np.random.default_rng(5)


def tiff(
    path: Path, codes: np.ndarray, *, west: float = 500_000, crs: str | None = "EPSG:32633", **more: Any
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = codes if codes.ndim == 3 else codes[np.newaxis]
    profile = {
        "driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2],
        "dtype": codes.dtype.name, "crs": crs, "transform": from_origin(west, 5_000_000, 2, 2),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile, **more) as file:
        file.write(bands)


def evaluate(*arguments: object) -> tuple[int, dict[str, Any], str]:
    done = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--json"])
    return done.exit_code, json.loads(done.stdout.strip().splitlines()[-1]), done.output


def test_folders_of_geotiffs_score_as_scikit_learn_says(tmp_path: Path) -> None:
    truth = [RNG.integers(0, 3, (70, 90)).astype(np.uint8) for _ in range(3)]
    guess = [np.where(RNG.random(t.shape) < 0.3, (t + 1) % 3, t).astype(np.uint8) for t in truth]
    truth[0][:10] = 255
    guess[1][:5], guess[1][5:7], guess[1][7:8] = 255, 254, 253
    for i, (t, g) in enumerate(zip(truth, guess, strict=True)):
        tiff(tmp_path / f"truth/a/{i}.tif", t, tiled=True, blockxsize=32, blockysize=16)
        tiff(tmp_path / f"masks/a/{i}.tif", g, nodata=255)
    out = tmp_path / "out"
    code, answer, _ = evaluate("--masks", tmp_path / "masks", "--truth", tmp_path / "truth", "--out", out)
    assert code == 0
    scores = json.loads((out / "scores.json").read_text())
    known = [t != 255 for t in truth]
    t = np.concatenate([x[k] for x, k in zip(truth, known, strict=True)])
    g = np.concatenate([x[k] for x, k in zip(guess, known, strict=True)])
    wanted = sk.jaccard_score(t, g, labels=[0, 1, 2], average=None)
    assert [c["iou"]["value"] for c in scores["pooled"]["classes"]] == pytest.approx(wanted.tolist())
    assert answer["overall"]["mean_iou"]["value"] == pytest.approx(wanted.mean())
    for c, row in enumerate(scores["pooled"]["classes"]):
        low, value, high = (row["dice"][k] for k in ("low", "value", "high"))
        assert low <= value <= high
        for name, value_of in (("nodata", 255), ("failed", 254), ("unobserved", 253)):
            assert row[name] == np.sum((t == c) & (g == value_of))
    assert scores["pixels"]["ignored"] == 900
    assert scores["pixels"]["counted"] == t.size
    with (out / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["item"], r["code"]) for r in rows] == [(f"a/{i}", str(c)) for i in range(3) for c in range(3)]
    last = sk.f1_score(truth[2].ravel(), guess[2].ravel(), labels=[0, 1, 2], average=None)
    assert [float(r["dice"]) for r in rows[-3:]] == pytest.approx(last.tolist())
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    assert "http" not in page.split("<body>")[1]


def test_an_item_that_cannot_be_scored_costs_itself_only(tmp_path: Path) -> None:
    codes = RNG.integers(0, 2, (20, 30)).astype(np.uint8)
    for name in ("good", "shape", "place", "crs", "missing"):
        tiff(tmp_path / f"truth/{name}.tif", codes)
    tiff(tmp_path / "masks/good.tif", codes)
    tiff(tmp_path / "masks/shape.tif", codes[:-1])
    tiff(tmp_path / "masks/place.tif", codes, west=500_001)
    tiff(tmp_path / "masks/crs.tif", codes, crs="EPSG:32634")
    tiff(tmp_path / "masks/spare.tif", codes)
    out = tmp_path / "out"
    code, answer, _ = evaluate("--masks", tmp_path / "masks", "--truth", tmp_path / "truth", "--out", out)
    assert code == 4
    assert (answer["status"], answer["items"], answer["failed"]) == ("partial", 1, 4)
    assert "spare" in " ".join(answer["notes"])
    reasons = {
        f["item"]: f["reason"] for f in json.loads((out / "scores.json").read_text())["items"]["failed"]
    }
    assert "30 × 19 pixels" in reasons["shape"]
    assert "0.5 pixels off" in reasons["place"]
    assert "EPSG:32634" in reasons["crs"]
    assert "no mask of this name" in reasons["missing"]
    assert str(tmp_path / "masks" / "place.tif") in reasons["place"]


def test_a_volume_turned_round_in_its_file_is_compared_in_place(tmp_path: Path) -> None:
    codes = np.zeros((12, 10, 8), np.uint8)
    codes[3:8, 2:7, 2:6] = 1
    moved = np.roll(codes, 1, axis=2)
    affine = np.diag([1.5, 2.0, 4.0, 1.0])
    turned = affine @ np.array([[-1, 0, 0, 11], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    for name, data, matrix in (("truth", codes[::-1], turned), ("masks", moved, affine)):
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(data, matrix), tmp_path / name / "a.nii.gz")
    out = tmp_path / "out"
    code, _, _ = evaluate(
        "--masks", tmp_path / "masks", "--truth", tmp_path / "truth", "--out", out, "--tolerance", 1
    )
    assert code == 0
    (item,) = json.loads((out / "scores.json").read_text())["per_item"]
    row = item["classes"][1]
    assert row["dice"] == pytest.approx(75 / 100)  # one of four layers of 25 voxels
    assert (row["hd95"], item["unit"]) == (4, "mm")
    assert item["classes"][0]["surface_status"] == "not asked for"
    assert not (out / ".segflow" / "scratch").exists()


def test_png_masks_and_named_classes(tmp_path: Path) -> None:
    from PIL import Image

    truth = np.array([[0, 0, 7, 7], [0, 7, 9, 9]], np.uint8)
    guess = np.array([[0, 7, 7, 7], [0, 7, 7, 7]], np.uint8)
    for name, codes in (("truth", truth), ("masks", guess)):
        (tmp_path / name).mkdir()
        Image.fromarray(codes).save(tmp_path / name / "a.png")
    common = ["--masks", tmp_path / "masks", "--truth", tmp_path / "truth", "--out", tmp_path / "out"]
    code, answer, _ = evaluate(*common, "--classes", "0=ground,7=water", "--ignore", 9)
    assert code == 0
    assert [(c["class"], c["iou"]["value"]) for c in answer["classes"]] == [
        ("ground", pytest.approx(2 / 3)),
        ("water", pytest.approx(3 / 4)),
    ]
    code, answer, _ = evaluate(*common, "--classes", "0=ground,7=water")
    assert code == 3
    assert "codes outside 0, 7: 9" in answer["error"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--masks", "m"], "--truth FOLDER"),
        (["data"], "--model BUNDLE"),
        (["data", "--model", "m", "--masks", "x"], "--model BUNDLE"),
    ],
)
def test_half_a_question_is_a_usage_error(tmp_path: Path, arguments: list[str], words: str) -> None:
    code, answer, _ = evaluate(*arguments, "--out", tmp_path / "out")
    assert code == 2
    assert words in answer["error"]


def test_folders_without_a_common_name_are_refused(tmp_path: Path) -> None:
    tiff(tmp_path / "truth/a.tif", np.zeros((4, 4), np.uint8))
    tiff(tmp_path / "masks/b.tif", np.zeros((4, 4), np.uint8))
    code, answer, _ = evaluate(
        "--masks", tmp_path / "masks", "--truth", tmp_path / "truth", "--out", tmp_path / "out"
    )
    assert code == 3
    assert "a there, b here" in answer["error"]


@dataclass(frozen=True)
class TiffPair:
    """A data set's open item: two GeoTIFFs."""

    item: DatasetItem
    values: dict[int, int]

    def _read(self, path: Path, window: tuple[slice, ...]) -> np.ndarray:
        image = open_image(path, scratch=path.parent)
        try:
            return image.read(window).values
        finally:
            image.close()

    @property
    def shape(self) -> tuple[int, ...]:
        with rasterio.open(self.item.images[0]) as file:
            return (file.height, file.width)

    spacing = (2.0, 2.0)

    def image(self, window: tuple[slice, ...]) -> np.ndarray:
        return np.concatenate([self._read(p, window) for p in self.item.images], -1).astype(np.float32)

    def valid(self, window: tuple[slice, ...]) -> np.ndarray:
        return (self.image(window) != 0).all(axis=-1)

    def truth(self, window: tuple[slice, ...]) -> np.ndarray:
        assert self.item.truth is not None
        raw = self._read(self.item.truth, window)[..., 0]
        out = np.full(raw.shape, IGNORE, np.int16)
        for value, code in self.values.items():
            out[raw == value] = code
        return out

    def close(self) -> None: ...


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three items with truth by NDWI: one file of four bands, two files of two bands, and one of the training split."""
    root = tmp_path / "data"
    items = []
    for i, split in enumerate(("test", "test", "train")):
        bands = RNG.integers(1, 200, (4, 60, 80)).astype(np.uint8)
        parts = {1: [bands[:2], bands[2:]]}.get(i, [bands])
        images = tuple(root / f"{i}-{k}.tif" for k in range(len(parts)))
        for path, part in zip(images, parts, strict=True):
            tiff(path, part, photometric="minisblack")
        green, infrared = bands[1].astype(int), bands[3].astype(int)
        water = 100 * (green - infrared) > 15 * (green + infrared)
        truth = np.where(water, 20, 10).astype(np.uint8)
        truth[:6] = 99
        tiff(root / f"{i}-truth.tif", truth)
        items.append(DatasetItem(id=f"s/{i}", images=images, truth=root / f"{i}-truth.tif", split=split))
    data = Dataset(
        root=root,
        layout="geotiff",
        items=tuple(items),
        classes=(
            ClassCard(name="land", code=0, colour="#000000"),
            ClassCard(name="water", code=1, colour="#0000ff"),
        ),
        channels=tuple(ChannelCard(name=n) for n in ("red", "green", "blue", "nir")),
        values={10: 0, 20: 1, 99: IGNORE},
        ndim=2,
    )
    opening, pairs = ModuleType("tasks.datasets.open"), ModuleType("tasks.datasets.pair")
    opening.open_dataset = lambda folder: data  # type: ignore[attr-defined]
    pairs.open_pair = lambda dataset, item, *, scratch: TiffPair(item, dataset.values)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tasks.datasets.open", opening)
    monkeypatch.setitem(sys.modules, "tasks.datasets.pair", pairs)
    return root


def test_a_bundle_on_a_data_set(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [dataset, "--model", "water-ndwi", "--split", "test", "--out", out, "--direct"]
    code, answer, text = evaluate(*arguments)
    assert code == 0, text
    assert answer["items"] == 2
    scores = json.loads((out / "scores.json").read_text())
    assert [i["item"] for i in scores["per_item"]] == ["s/0", "s/1"]
    assert scores["pixels"]["ignored"] == 2 * 6 * 80
    # The truth is the method's own rule; only pixels exactly at its threshold may fall either way.
    assert answer["overall"]["pixel_accuracy"]["value"] > 0.995
    for name in ("s__0", "s__1"):
        assert (out / "runs" / name / "run.json").is_file()
    before = {p: p.stat().st_mtime_ns for p in out.rglob("run.json")}
    code, again, _ = evaluate(*arguments)
    assert code == 0
    assert again["overall"] == answer["overall"]
    assert {p: p.stat().st_mtime_ns for p in out.rglob("run.json")} == before


def test_a_split_that_is_empty_is_refused(dataset: Path, tmp_path: Path) -> None:
    code, answer, _ = evaluate(
        dataset, "--model", "water-ndwi", "--split", "val", "--out", tmp_path / "out", "--direct"
    )
    assert code == 3
    assert "test, train" in answer["error"]
