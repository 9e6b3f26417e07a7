"""The training row: what both sides are given, and how they are scored."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness import Settings, UnavailableError
from benchmarks.peers import tiles, training
from benchmarks.peers.process import started
from benchmarks.peers.recipe import BATCH, CLASSES, LEARNING_RATE, PATCH, STRIDE
from benchmarks.peers.train_ours import Saved


def test_pooled_iou_counts_pixels_of_all_images_and_no_padding(tmp_path: Path) -> None:
    truth = {"a": np.array([[0, 1], [2, 2]], np.int16), "b": np.zeros((1, 3), np.int16)}
    masks = {"a": np.full((4, 4), 2, np.uint8), "b": np.array([[0, 0, 1, 1]], np.uint8)}
    np.savez(tmp_path / "truth.npz", **truth)  # type: ignore[arg-type]
    np.savez(tmp_path / "masks.npz", **masks)  # type: ignore[arg-type]
    # a: 3 of 4 found, all 4 foreground in either; b: one pixel found where nothing is
    assert training.pooled_iou(tmp_path / "truth.npz", tmp_path / "masks.npz") == pytest.approx(3 / 5)


def test_without_the_data_the_row_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="NUCLEI=FOLDER"):
        training.measure(Settings(tmp_path, note=lambda _: None, nuclei=tmp_path))


def test_a_peer_that_cannot_start_says_why(tmp_path: Path) -> None:
    settings = Settings(tmp_path, note=lambda _: None)
    with (
        pytest.raises(RuntimeError, match="No module named"),
        started(settings, Path(sys.executable), "no_such_module", log=tmp_path / "log"),
    ):
        pass


def test_tiles_come_in_the_order_of_their_file(tmp_path: Path) -> None:
    labels = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 2, 2)
    np.save(tmp_path / "labels-5.npy", labels)
    np.save(tmp_path / "images-5.npy", labels[..., None].astype(np.float32))
    source = Saved(tmp_path, 5)
    source.skip(1)
    image, drawn = source.draw()
    assert np.array_equal(drawn, labels[0, 1])
    assert np.array_equal(image[..., 0], drawn)
    assert source.steps == 2


def test_both_sides_get_normalised_tiles_and_no_test_image(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tiles", str(shared_data / "nuclei"), str(tmp_path), "1", "3"])
    tiles.main()
    counts = json.loads(capsys.readouterr().out)
    index = {e["id"]: e for e in json.loads((shared_data / "nuclei" / "index.json").read_text())}
    assert counts["train"] + counts["validation"] == sum(e["split"] == "train" for e in index.values())
    images, labels = np.load(tmp_path / "images-1.npy"), np.load(tmp_path / "labels-1.npy")
    assert images.shape == (3, BATCH, PATCH, PATCH, 3)
    assert set(np.unique(labels)) == set(range(CLASSES))
    assert -1 < images.mean() < 1.5
    rates = np.load(tmp_path / "rates.npy")
    assert len(rates) == 3
    assert 0 < rates.max() < LEARNING_RATE
    with np.load(tmp_path / "validation.npz") as inputs, np.load(tmp_path / "truth.npz") as truth:
        assert len(truth.files) == counts["validation"]
        for name in truth.files:
            assert index[name]["split"] == "train"
            assert list(truth[name].shape) == index[name]["shape"]
            assert all(n % STRIDE == 0 for n in inputs[name].shape[:2])
    check = np.load(tmp_path / "check.npz")
    p = np.exp(check["logits"].astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    one = np.eye(CLASSES)[check["labels"]]
    dice = 2 * (p * one).sum((0, 1, 2)) / (p + one).sum((0, 1, 2))
    assert float(check["loss"]) == pytest.approx(1 - dice.mean() - np.log((p * one).sum(-1)).mean(), rel=1e-5)
