"""Every defect is made, and named with its file; a sound data set passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rasterio.transform import Affine
from typer.testing import CliRunner

from flows.cli import app
from tasks.datasets.open import open_dataset
from tasks.datasets.problems import Verification
from tasks.datasets.verify import verify_dataset
from tasks.errors import InputError
from tests.tasks.datasets.conftest import NORTH_UP, save, write_json

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
THREE = ["a", "b", "c"]
Make = Callable[..., Path]


def verified(root: Path) -> Verification:
    return verify_dataset(open_dataset(root), scratch=root / "scratch")


def kinds(result: Verification) -> list[tuple[str, str, str | None]]:
    return [(p.severity, p.kind, p.item) for p in result.problems]


def test_a_sound_data_set_passes_and_is_counted(make_pairs: Make) -> None:
    root = make_pairs(4, classes=THREE, splits={"train": ["p0", "p1", "p2"], "test": ["p3"]})
    result = verified(root)
    assert result.problems == ()
    assert not result.refused
    result.require()
    masks = [np.asarray(Image.open(root / f"masks/p{i}.png")) for i in range(3)]
    assert result.splits["train"].pixels == {
        name: sum(int((m == code).sum()) for m in masks) for code, name in enumerate(THREE)
    }
    assert result.splits["test"].items == 1


def test_shape_mismatch(make_pairs: Make) -> None:
    root = make_pairs(2, classes=THREE)
    save(root / "masks/p1.png", np.zeros((20, 29), np.uint8))
    result = verified(root)
    assert ("error", "shape mismatch", "p1") in kinds(result)
    problem = result.errors[0]
    assert problem.file == str(root / "masks/p1.png")
    assert "20 × 30 and 20 × 29" in problem.cause
    with pytest.raises(InputError, match=r"shape mismatch: .*p1\.png"):
        result.require()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"transform": NORTH_UP @ Affine.translation(0.5, 0)}, "0.5 pixels apart"),
        ({"transform": NORTH_UP @ Affine.scale(1.01)}, "pixels apart"),
        ({"crs": "EPSG:32633"}, "differ in CRS"),
    ],
)
def test_grid_mismatch_of_rasters(tmp_path: Path, rng: np.random.Generator, options: dict, word: str) -> None:
    save(tmp_path / "images/a.tif", rng.integers(0, 99, (16, 16)).astype(np.uint8))
    save(tmp_path / "masks/a.tif", rng.integers(0, 2, (16, 16)).astype(np.uint8), **options)
    result = verified(tmp_path)
    assert kinds(result) == [("error", "grid mismatch", "a")]
    assert word in result.errors[0].cause


def test_grids_that_differ_by_rounding_pass(tmp_path: Path, rng: np.random.Generator) -> None:
    save(tmp_path / "images/a.tif", rng.integers(0, 99, (16, 16)).astype(np.uint8))
    mask = rng.integers(0, 2, (16, 16)).astype(np.uint8)
    save(tmp_path / "masks/a.tif", mask, transform=NORTH_UP @ Affine.translation(0.001, 0))
    assert verified(tmp_path).problems == ()


def test_grid_mismatch_of_volumes(tmp_path: Path, rng: np.random.Generator) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    moved = affine.copy()
    moved[0, 3] = 4
    for name, a in (("a", affine), ("b", moved)):
        save(
            tmp_path / f"imagesTr/{name}_0000.nii.gz", rng.normal(size=(5, 6, 7)).astype("f4"), affine=affine
        )
        save(tmp_path / f"labelsTr/{name}.nii.gz", rng.integers(0, 2, (5, 6, 7)).astype("u1"), affine=a)
    write_json(
        tmp_path / "dataset.json",
        {"channel_names": {"0": "T1"}, "labels": {"bg": 0, "x": 1}, "file_ending": ".nii.gz"},
    )
    assert kinds(verified(tmp_path)) == [("error", "grid mismatch", "b")]


def test_labels_out_of_range(make_pairs: Make, rng: np.random.Generator) -> None:
    root = make_pairs(2, classes=THREE)
    mask = rng.integers(0, 3, (20, 30)).astype(np.uint8)
    mask[0, :6] = 9
    save(root / "masks/p0.png", mask)
    result = verified(root)
    assert kinds(result) == [("error", "label out of range", "p0")]
    assert "holds 9 (1.00% of its pixels), but classes are 0, 1, 2" in result.errors[0].cause


def test_interpolated_masks(tmp_path: Path, rng: np.random.Generator) -> None:
    save(tmp_path / "images/a.tif", rng.integers(0, 99, (8, 8)).astype(np.uint8))
    save(tmp_path / "masks/a.tif", np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))
    write_json(tmp_path / "dataset.json", {"classes": ["a", "b"]})
    result = verified(tmp_path)
    assert ("error", "unreadable", "a") in kinds(result)
    assert "it was interpolated" in result.errors[0].cause


@pytest.mark.parametrize("named", [True, False])
def test_0_255_coding(make_pairs: Make, named: bool) -> None:
    root = make_pairs(2, **({"classes": ["background", "cell"]} if named else {}))
    for i in range(2):
        save(root / f"masks/p{i}.png", np.eye(20, 30, dtype=np.uint8) * 255)
    result = verified(root)
    assert [k for k in kinds(result) if k[1] == "0/255 coding"] == [
        ("error", "0/255 coding", "p0"), ("error", "0/255 coding", "p1"),
    ]  # fmt: skip
    write_json(
        root / "dataset.json", {"classes": [{"name": "background"}, {"name": "cell", "values": [255]}]}
    )
    assert not verified(root).refused


def test_empty_masks(make_pairs: Make) -> None:
    root = make_pairs(2, classes=THREE)
    save(root / "masks/p0.png", np.zeros((20, 30), np.uint8))
    assert kinds(verified(root)) == [("warning", "empty mask", "p0")]
    save(root / "masks/p1.png", np.zeros((20, 30), np.uint8))
    result = verified(root)
    assert kinds(result)[0] == ("error", "all masks empty", None)
    assert "all 2 masks" in result.errors[0].cause


@pytest.mark.parametrize("which", ["images", "masks"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_cut_and_foreign_files(tmp_path: Path, rng: np.random.Generator, which: str, suffix: str) -> None:
    for name in ("a", "b"):
        for folder in ("images", "masks"):
            kind = ".png" if suffix == ".jpg" and folder == "masks" else suffix
            save(tmp_path / folder / f"{name}{kind}", rng.integers(0, 2, (64, 64)).astype(np.uint8))
    write_json(tmp_path / "dataset.json", {"classes": ["a", "b"]})
    (path,) = (tmp_path / which).glob("b.*")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    result = verified(tmp_path)
    assert [(p.severity, p.kind, p.file) for p in result.problems] == [("error", "unreadable", str(path))]
    path.write_bytes(b"no picture at all")
    assert [(p.kind, p.file) for p in verified(tmp_path).errors] == [("unreadable", str(path))]


def test_cut_volume(tmp_path: Path, rng: np.random.Generator) -> None:
    image = save(tmp_path / "imagesTr/a_0000.nii.gz", rng.normal(size=(9, 9, 9)).astype("f4"))
    save(tmp_path / "labelsTr/a.nii.gz", rng.integers(0, 2, (9, 9, 9)).astype("u1"))
    write_json(
        tmp_path / "dataset.json",
        {"channel_names": {"0": "T1"}, "labels": {"bg": 0, "x": 1}, "file_ending": ".nii.gz"},
    )
    image.write_bytes(image.read_bytes()[:1500])
    result = verified(tmp_path)
    assert kinds(result)[0] == ("error", "unreadable", "a")
    assert "truncated gzip" in result.errors[0].cause


def test_duplicates_between_splits(make_pairs: Make) -> None:
    root = make_pairs(3, classes=THREE, splits={"train": ["p0", "p1"], "test": ["p2"]})
    same = Image.open(root / "images/p0.png")
    same.save(root / "images/p2.png", compress_level=0)
    result = verified(root)
    assert kinds(result) == [("error", "duplicate content", "p2")]
    assert "split test and train" in result.errors[0].cause
    same.save(root / "images/p1.png")
    assert ("warning", "duplicate content", "p1") in kinds(verified(root))


def test_missing_truth_and_orphans(make_pairs: Make) -> None:
    root = make_pairs(3, classes=THREE, splits={"train": ["p0", "p1"], "test": ["p2"]})
    (root / "masks/p1.png").rename(root / "masks/q1.png")
    (root / "masks/p2.png").unlink()
    assert kinds(verified(root)) == [
        ("error", "missing truth", "p1"),
        ("warning", "missing truth", "p2"),
        ("warning", "truth without image", None),
    ]


def test_duplicate_ids(make_pairs: Make, rng: np.random.Generator) -> None:
    root = make_pairs(2, classes=THREE)
    save(root / "images/p1.jpg", rng.integers(0, 256, (20, 30)).astype(np.uint8))
    assert ("error", "duplicate id", "p1") in kinds(verified(root))


def test_mixed_channel_counts(make_pairs: Make, rng: np.random.Generator) -> None:
    root = make_pairs(3, classes=THREE)
    for i in range(2):
        save(root / f"images/p{i}.png", rng.integers(0, 256, (20, 30, 3)).astype(np.uint8))
    assert kinds(verified(root)) == [("error", "channel count", "p2")]
    write_json(root / "dataset.json", {"classes": THREE, "grey": "repeat"})
    assert verified(root).problems == ()


def test_classes_never_seen(make_pairs: Make) -> None:
    root = make_pairs(1, classes=[*THREE, "unicorn"])
    result = verified(root)
    assert kinds(result) == [("warning", "class never seen", None)]
    assert "class 3 'unicorn'" in result.problems[0].cause


def test_command(make_pairs: Make) -> None:
    root = make_pairs(2, classes=THREE)
    runner = CliRunner()
    done = runner.invoke(app, ["data", "verify", str(root)])
    assert done.exit_code == 0, done.output
    assert "fit for training" in done.output
    shown = runner.invoke(app, ["data", "show", str(root), "--json"])
    assert json.loads(shown.stdout)["splits"] == {"in no split": 2}
    save(root / "masks/p1.png", np.zeros((4, 4), np.uint8))
    refused = runner.invoke(app, ["data", "verify", str(root), "--json"])
    value = json.loads(refused.stdout)
    assert (refused.exit_code, value["exit_code"], value["status"]) == (3, 3, "refused")
    assert value["problems"][0]["kind"] == "shape mismatch"
    assert "no training can start" in runner.invoke(app, ["data", "verify", str(root)]).output
    missing = runner.invoke(app, ["data", "verify", str(root / "nowhere")])
    assert missing.exit_code == 3
