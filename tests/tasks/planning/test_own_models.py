"""What a plan must know of imported models and ensembles, and what an image tells an import."""

import nibabel
import numpy as np
import pytest

from segmodels.bundles.card import Card, ChannelCard, ClassCard
from tasks.errors import InputError, UsageError
from tasks.planning.budget import model_bytes
from tasks.planning.like import like_image
from tasks.planning.plan import Parameters
from tasks.planning.tiles import choose_tiles


def make_card(**changes):
    fields = {
        "name": "own",
        "ndims": (2,),
        "classes": tuple(ClassCard(name=n, code=i, colour="#102030") for i, n in enumerate("ab")),
        "channels": (ChannelCard(name="x"),),
        "tile": (48, 64),
        "stride": 16,
    }
    return Card(**{**fields, **changes})


def test_a_model_of_one_size_takes_no_other_tile():
    card = make_card(fixed_tile=True)
    assert choose_tiles(card, 2, Parameters()).tile == (48, 64)
    assert choose_tiles(card, 2, Parameters(tile=(48, 64))).tile == (48, 64)
    with pytest.raises(UsageError, match="takes tiles of 48×64 only"):
        choose_tiles(card, 2, Parameters(tile=(64, 64)))
    assert choose_tiles(make_card(), 2, Parameters(tile=(64, 64))).tile == (64, 64)


def test_members_of_an_ensemble_are_priced_each():
    class Grid:
        tile = (48, 64)

    one, three = (model_bytes(Grid, batch=2, card=make_card(members=n), engine="openvino") for n in (1, 3))
    inputs = 2 * 48 * 64 * 4 * (2 + 2)  # channels twice, logits once: two classes under a softmax
    assert three - inputs == 3 * (one - inputs)


def test_a_volume_tells_its_spacing_and_its_middle(tmp_path):
    values = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2, 3, 4, 1])), tmp_path / "v.nii.gz")
    with like_image(tmp_path / "v.nii.gz") as like:
        assert (like.ndim, like.field, like.spacing) == (3, "medical", (4.0, 3.0, 2.0))
        pixels, valid = like.middle((2, 3, 100))
        np.testing.assert_array_equal(pixels[..., 0], values.transpose(2, 1, 0)[1:3, 1:4])
        assert valid.all()
        assert like.statistics[0].mean_std()[0] == pytest.approx(values.mean())


def test_the_fourth_axis_is_channels_if_the_model_takes_so_many(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((6, 5, 4, 2), np.float32), np.eye(4)), tmp_path / "v.nii.gz")
    with like_image(tmp_path / "v.nii.gz", channels=2) as like:
        assert (like.ndim, len(like.channels)) == (3, 2)
    with like_image(tmp_path / "v.nii.gz", channels=1) as like:
        assert (like.ndim, len(like.channels)) == (3, 1)


def test_an_image_without_values_tells_nothing(tmp_path):
    empty = np.full((4, 4, 4), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(empty, np.eye(4)), tmp_path / "v.nii.gz")
    with pytest.raises(InputError, match="no valid pixel"), like_image(tmp_path / "v.nii.gz"):
        pass
