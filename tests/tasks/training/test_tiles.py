"""Tiles: where they come from, what they hold, and that each is decided by its number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmodels.bundles.card import NormalisePercentile, NormaliseZScore
from segmodels.normalise import Normaliser
from tasks.datasets.open import open_dataset
from tasks.datasets.pair import open_pair
from tasks.datasets.splits import Part
from tasks.errors import UsageError
from tasks.training.config import Data
from tasks.training.evaluate import foreground_iou, windows
from tasks.training.items import split_items, survey
from tasks.training.tiles import Tiles, positions_of

AS_IT_IS = Normaliser((-np.inf,) * 3, (np.inf,) * 3, (0.0,) * 3, (1.0,) * 3)
AS_IT_IS_ONE = Normaliser((-np.inf,), (np.inf,), (0.0,), (1.0,))


def tiles(squares: Path, scratch: Path, **options: object) -> Tiles:
    dataset = open_dataset(squares)
    given: dict[str, object] = {
        "patch": (16, 16),
        "seed": 0,
        "codes": (0, 1, 2),
        "scratch": scratch,
        **options,
    }
    return Tiles(
        dataset,
        [Part(item) for item in dataset.split("train")],
        normalisers={item.id: AS_IT_IS for item in dataset.items},
        **given,  # type: ignore[arg-type]
    )


def test_tiles_are_pieces_of_training_items(squares: Path, tmp_path: Path) -> None:
    dataset = open_dataset(squares)
    whole = []
    for item in dataset.split("train"):
        pair = open_pair(dataset, item, scratch=tmp_path)
        everything = tuple(slice(0, n) for n in pair.shape)
        whole.append((pair.image(everything), pair.truth(everything)))
        pair.close()
    source = tiles(squares, tmp_path)
    for _ in range(10):
        image, labels = source.draw()
        assert image.shape == (16, 16, 3)
        found = 0
        for full, truth in whole:
            places = np.argwhere(
                (full[: truth.shape[0] - 15, : truth.shape[1] - 15] == image[0, 0]).all(axis=-1)
            )
            found += any(
                np.array_equal(full[r : r + 16, c : c + 16], image)
                and np.array_equal(truth[r : r + 16, c : c + 16], labels)
                for r, c in places
            )
        assert found == 1


def test_a_tile_depends_on_seed_and_number_alone(squares: Path, tmp_path: Path) -> None:
    first = tiles(squares, tmp_path)
    drawn = [first.draw()[0] for _ in range(5)]
    later = tiles(squares, tmp_path)
    later.skip(3)
    np.testing.assert_array_equal(later.draw()[0], drawn[3])
    assert not np.array_equal(tiles(squares, tmp_path, seed=1).draw()[0], drawn[0])


def test_shares_of_groups_are_kept(squares: Path, tmp_path: Path) -> None:
    source = tiles(squares, tmp_path, balance_by="kind", shares={"light": 0.8, "dark": 0.2})
    light = []
    for _ in range(300):
        image, labels = source.draw()
        inside, outside = image[labels > 0], image[labels == 0]
        if len(inside) and len(outside):
            light.append(inside.mean() > outside.mean())
    assert np.mean(light) == pytest.approx(0.8, abs=0.08)
    with pytest.raises(ValueError, match="gives nothing"):
        tiles(squares, tmp_path, balance_by="kind", shares={"grey": 1.0})


def test_a_tile_larger_than_its_image_ignores_what_is_not_there(squares: Path, tmp_path: Path) -> None:
    source = tiles(squares, tmp_path, patch=(64, 128))
    for _ in range(4):
        image, labels = source.draw()
        assert image.shape == (64, 128, 3)
        rows, columns = np.flatnonzero((labels >= 0).any(axis=1)), np.flatnonzero((labels >= 0).any(axis=0))
        assert len(rows) == 40
        assert 40 <= len(columns) <= 60
        assert (labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] >= 0).all()


def test_labels_are_positions_among_the_codes() -> None:
    labels = np.array([5, 0, 9, -1, 4], np.int16)
    assert positions_of(labels, np.array([0, 5, 9], np.int16)).tolist() == [1, 0, 2, -1, -1]


def test_a_flat_patch_takes_slices_of_a_volume(tmp_path: Path) -> None:
    import nibabel as nib

    volume = np.random.default_rng(0).normal(size=(20, 18, 12)).astype(np.float32)
    for folder, values in (("imagesTr", volume), ("labelsTr", (volume > 0).astype(np.uint8))):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            suffix = "_0000" if folder == "imagesTr" else ""
            nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / folder / f"{name}{suffix}.nii.gz")
    (tmp_path / "dataset.json").write_text(
        '{"channel_names": {"0": "T1"}, "labels": {"background": 0, "tissue": 1}, "numTraining": 2, '
        '"file_ending": ".nii.gz"}'
    )
    dataset = open_dataset(tmp_path)
    source = Tiles(
        dataset,
        [Part(item) for item in dataset.items],
        normalisers={item.id: AS_IT_IS_ONE for item in dataset.items},
        patch=(8, 10),
        seed=0,
        codes=(0, 1),
        scratch=tmp_path / "scratch",
    )
    for _ in range(5):
        image, labels = source.draw()
        assert image.shape == (8, 10, 1)
        np.testing.assert_array_equal(image[..., 0] > 0, labels == 1)
    source.close()


def test_focus_finds_its_class(squares: Path, tmp_path: Path) -> None:
    def share(**options: object) -> float:
        source = tiles(squares, tmp_path, patch=(4, 4), **options)
        return float(np.mean([(source.draw()[1] == 2).any() for _ in range(200)]))

    assert share(focus={2: 1.0}) > max(0.9, share() + 0.2)


def test_held_out_items_keep_the_proportions(squares: Path, tmp_path: Path) -> None:
    dataset = open_dataset(squares)
    split = split_items(dataset, Data(validation=0.25, balance_by="kind"), seed=0, scratch=tmp_path)
    assert [p.item.id for p in split.test] == ["08", "09"]
    assert sorted(p.item.details["kind"] for p in split.val) == ["dark", "light"]
    ids = [p.item.id for part in (split.train, split.val, split.test) for p in part]
    assert sorted(ids) == [item.id for item in dataset.items]
    again = split_items(dataset, Data(validation=0.25, balance_by="kind"), seed=0, scratch=tmp_path)
    assert again == split


def test_a_survey_counts_what_numpy_counts(squares: Path, tmp_path: Path) -> None:
    dataset = open_dataset(squares)
    item = dataset.items[3]
    normalise = (
        NormaliseZScore(),
        NormalisePercentile(low=2, high=90),
        NormaliseZScore(foreground_above=100),
    )
    seen = survey(dataset, item, normalise=normalise, scratch=tmp_path)
    pair = open_pair(dataset, item, scratch=tmp_path)
    everything = tuple(slice(0, n) for n in pair.shape)
    image, truth = pair.image(everything), pair.truth(everything)
    pair.close()
    assert seen.shape == truth.shape
    assert seen.labels.tolist() == [int((truth == code).sum()) for code in (0, 1, 2)]
    assert seen.ranges == tuple((image[..., c].min(), image[..., c].max()) for c in range(3))
    low, high = np.percentile(image[..., 1], [2, 90], method="inverted_cdf")
    bright = image[..., 2][image[..., 2] > 100]
    assert seen.normaliser.offset == pytest.approx((image[..., 0].mean(), low, bright.mean()), rel=1e-5)
    scale = (1 / image[..., 0].std(), 1 / (high - low), 1 / bright.std())
    assert seen.normaliser.scale == pytest.approx(scale, rel=1e-5)
    with pytest.raises(UsageError, match="each of the 3 channels, not 2"):
        survey(dataset, item, normalise=normalise[:2], scratch=tmp_path)


@pytest.mark.parametrize(("shape", "ndim"), [((1500, 1030), 2), ((3, 200, 90), 2), ((130, 60, 129), 3)])
def test_windows_cover_a_shape_once(shape: tuple[int, ...], ndim: int) -> None:
    count = np.zeros(shape, int)
    for core, padded in windows(shape, ndim=ndim):
        count[core] += 1
        assert all(p.start <= c.start and c.stop <= p.stop for c, p in zip(core, padded, strict=True))
    assert (count == 1).all()
    box = tuple(slice(n // 3, n) for n in shape)
    inside = np.zeros(shape, int)
    for core, _ in windows(shape, ndim=ndim, box=box):
        inside[core] += 1
    assert (inside[box] == 1).all()
    assert inside.sum() == inside[box].size


def test_foreground_iou_by_hand() -> None:
    from segmodels.metrics import ConfusionMatrix

    truth, seen = np.array([0, 0, 1, 2, 2, 0, -1]), np.array([0, 1, 2, 2, 0, 0, 1])
    matrix = ConfusionMatrix(3, ignore=(-1,)).update(truth, seen)
    assert foreground_iou(matrix) == pytest.approx(2 / 4)
