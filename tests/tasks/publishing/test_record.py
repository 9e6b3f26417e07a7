"""The verdict of a run in its record."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from segmodels.bundles.card import SeamLimits
from tasks.blocks.blockfile import TileFailure
from tasks.imagery.source import Source
from tasks.planning.make import make_plan
from tasks.planning.plan import Parameters
from tasks.planning.request import Request
from tasks.planning.step import Planned
from tasks.privacy import keys
from tasks.publishing.record import build_record
from tasks.stitching.audit import Disagreement, SeamAudit

AGREE = Disagreement(pairs=4, pixels=1000, other_class=10, mean_difference=0.01)
DISAGREE = Disagreement(pairs=4, pixels=1000, other_class=123, mean_difference=0.01)


@pytest.fixture
def record(array_image, make_card, tmp_path):
    """Builds the record of a run with these seams and failures."""

    def build(found, *, failures=(), private=False, **card):
        path = tmp_path / "memory.tif"
        path.write_bytes(b"x")
        source = Source.of(path)
        if private:
            (key,) = keys.register(tmp_path / "keys.json", keys.Entry(((str(path), None),)))
            source = Source.of(keys.address(tmp_path / "keys.json", key))
        image = array_image(np.ones((40, 40, 1), np.float32))
        plan = make_plan(
            image,
            item="x",
            image_digest="",
            bundle=tmp_path,
            bundle_digest="",
            card=make_card(3, ndims=(2,), **card),
            parameters=Parameters(),
        ).model_copy(update={"image": source})
        request = Request(image=source, model="m", out=tmp_path, item="x")
        planned = Planned(request.work("k"), (0,), 1, plan.grid.tile_count, image.info)
        now = datetime(2026, 1, 1, tzinfo=UTC)
        return build_record(
            request,
            planned,
            plan,
            image.info,
            failures=failures,
            seams=SeamAudit(found, ()),
            timings={},
            started=now,
            finished=now,
        )

    return build


def test_tiles_that_agree_are_done(record):
    found = record(AGREE)
    assert found["status"] == "done"
    assert found["warnings"] == []
    assert found["seams"]["other_class"] == 0.01


def test_a_private_run_says_once_that_it_is_one(record):
    sentence = "Private: keys instead of names; pictures still show the patient."
    assert json.dumps(record(AGREE, private=True)).count(sentence) == 1
    assert sentence not in json.dumps(record(AGREE))


def test_tiles_that_disagree_are_suspect_and_the_sentence_helps(record):
    found = record(DISAGREE)
    assert found["status"] == "suspect"
    (warning,) = found["warnings"]
    assert "12.3 % of the pixels where two tiles overlap" in warning
    assert "--overlap" in warning


def test_the_card_decides_what_is_too_much(record):
    assert record(DISAGREE, seams=SeamLimits(other_class=0.2))["status"] == "done"
    assert record(AGREE, seams=SeamLimits(other_class=0.005))["status"] == "suspect"


def test_failed_tiles_come_first_and_the_seams_are_still_told(record):
    found = record(DISAGREE, failures=(TileFailure((0, 0), "why"),))
    assert found["status"] == "partial"
    assert len(found["warnings"]) == 2
