"""Errors travel between processes with their sentence and what they carry."""

import pickle

import pytest

from segmodels import errors as model_errors
from tasks import errors
from tasks.planning.fitting import FitError

PLAIN = [
    kind
    for module in (errors, model_errors)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == module.__name__
]


@pytest.mark.parametrize("kind", PLAIN, ids=lambda k: k.__name__)
def test_a_workers_error_arrives_whole(kind):
    found = pickle.loads(pickle.dumps(kind("scene.tif is not an image: fetch it again")))
    assert type(found) is kind
    assert str(found) == "scene.tif is not an image: fetch it again"


def test_what_does_not_fit_keeps_the_setting_that_would():
    found = pickle.loads(pickle.dumps(FitError("too large: give --block 96", setting="--block 96")))
    assert isinstance(found, FitError)
    assert (str(found), found.setting) == ("too large: give --block 96", "--block 96")
