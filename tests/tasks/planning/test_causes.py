"""What values outside a card's range look like."""

from __future__ import annotations

import pytest

from segmodels.bundles.card import ChannelCard
from tasks.planning.causes import probable_cause


@pytest.mark.parametrize(
    ("channel", "low", "high", "says"),
    [
        ({"units": "reflectance", "minimum": 0, "maximum": 1}, 300, 4100, "digital numbers; name the scene"),
        ({"units": "reflectance", "minimum": 0, "maximum": 1}, -0.09, 0.4, "subtracted twice"),
        ({"minimum": 0, "maximum": 10000}, 0.01, 0.6, "--stored-units"),
        ({"units": "HU", "minimum": -1024, "maximum": 3071}, 0, 4095, "rescale intercept"),
        ({"units": "1", "minimum": 0, "maximum": 255}, 20, 3000, "more than eight bits"),
        ({"minimum": 0, "maximum": 1000}, 20, 3000, "check bands and units"),
    ],
)
def test_the_likely_cause_is_named(
    channel: dict[str, float | str], low: float, high: float, says: str
) -> None:
    assert says in probable_cause(ChannelCard.model_validate({"name": "x", **channel}), low, high)
