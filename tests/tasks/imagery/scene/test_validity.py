"""Masks that say which pixels were observed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmodels.bundles.card import ChannelCard
from tasks.errors import InputError, UsageError
from tasks.imagery.open import open_image
from tasks.imagery.validity.asked import absolute_rule
from tasks.imagery.validity.rules import parse_rule
from tasks.imagery.wanted import Reading, Wanted
from tasks.planning.plan import Parameters
from tasks.publishing.digests import input_digest

WHOLE = (slice(0, 24), slice(0, 36))


@pytest.mark.parametrize(
    ("rule", "values", "observed"),
    [
        ("!=0", [0, 1, 255], [0, 1, 1]),
        ("= 3", [2, 3], [0, 1]),
        ("<=20.5", [20, 21], [1, 0]),
        ("in 4,6-7", [3, 4, 5, 6, 7, 8], [0, 1, 0, 1, 1, 0]),
        ("not in 8-10", [7, 8, 11], [1, 0, 1]),
        ("bits 3,4=0", [0, 8, 16, 32], [1, 0, 0, 1]),
        ("bit 6=1 and bits 3=0", [64, 72, 0], [1, 0, 0]),
        (">-5 and <5", [-6, 0, 6], [0, 1, 0]),
        ("scl", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 1]),
        ("scl:4,5", [4, 5, 6], [1, 1, 0]),
        # Values of the product guide: clear land, cloud, shadow, water, snow, cirrus, fill.
        ("qa_pixel", [21824, 22280, 23888, 21952, 30048, 54596, 1], [1, 0, 0, 1, 1, 0, 0]),
        ("qa_pixel:5", [21824, 30048], [1, 0]),
        ("fmask", [0, 1, 2, 3, 4, 255], [1, 1, 0, 1, 0, 0]),
    ],
)
def test_rules(rule: str, values: list[int], observed: list[int]) -> None:
    assert parse_rule(rule).observed(np.array(values)).tolist() == [bool(v) for v in observed]


def test_nan_is_never_observed() -> None:
    for rule in ("!=0", "not in 3", ">0"):
        assert parse_rule(rule).observed(np.array([np.nan, 1.0])).tolist() == [False, True]


@pytest.mark.parametrize(
    "rule",
    ["", "0", "__import__('os')", "in", "in 5-4", "bits 3", "bits 3=2", "bits 64=0", "scl:a", "=0 or =1"],
)
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(UsageError, match="is no rule"):
        parse_rule(rule)


def test_coarser_classes_hide_whole_blocks_of_pixels(safe: Callable[..., Path], tmp_path: Path) -> None:
    want = Wanted(channels=(ChannelCard(name="red"),), reading=Reading(valid=("scl",)))
    image = open_image(safe(), scratch=tmp_path, wanted=want)
    expected = np.zeros((24, 36), bool)
    expected[6:8, 8:12] = True  # clouds at (3, 4:6) of twice the size
    expected[10:12, 12:14] = True
    pixels = image.read(WHOLE)
    assert pixels.unobserved is not None
    np.testing.assert_array_equal(pixels.unobserved, expected)
    np.testing.assert_array_equal(pixels.valid, ~expected & (np.indices((24, 36)).sum(0) > 0))
    window = (slice(5, 11), slice(7, 31))
    np.testing.assert_array_equal(image.read(window).unobserved, expected[window])
    image.close()


def test_a_card_may_ask_for_a_scenes_mask_and_a_user_refuse_it(landsat: Path, tmp_path: Path) -> None:
    channels = (ChannelCard(name="red"),)
    for valid, hidden in (((), [(2, 3), (4, 5)]), (("none",), None), (("qa_pixel:5",), [(6, 7)])):
        want = Wanted(channels=channels, reading=Reading(valid=valid), validity=("scl", "qa_pixel"))
        image = open_image(landsat, scratch=tmp_path, wanted=want)
        found = image.read(WHOLE).unobserved
        image.close()
        if hidden is None:
            assert found is None
        else:
            assert found is not None
            assert np.argwhere(found).tolist() == [list(p) for p in hidden]


def test_a_file_or_band_and_a_rule(band_file: Callable[..., Path], tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    values = random.integers(1, 9, (2, 24, 36)).astype(np.uint8)
    values[:, 3, 4] = 0
    path = band_file(tmp_path / "a.tif", values, nodata=0, descriptions=("one", "quality"))
    fine = random.integers(0, 2, (48, 72)).astype(np.uint8)
    mask = band_file(tmp_path / "m.tif", fine, pixel=5)
    want = Wanted(reading=Reading(bands=("one",), valid=(f"{mask}:!=0", "band:quality:in 1-6")))
    image = open_image(path, scratch=tmp_path, wanted=want)
    pixels = image.read(WHOLE)
    # A centre lies on the corner of four finer pixels, of which the one below and to the right counts.
    expected = (fine[1::2, 1::2] == 0) | ~np.isin(values[1], range(1, 7))
    expected[3, 4] = False  # no data at all
    assert pixels.unobserved is not None
    np.testing.assert_array_equal(pixels.unobserved, expected)
    assert not pixels.valid[3, 4]
    image.close()


def test_a_mask_elsewhere_is_refused(band_file: Callable[..., Path], tmp_path: Path) -> None:
    path = band_file(tmp_path / "a.tif", np.ones((24, 36), np.uint8))
    cases: tuple[tuple[Any, dict[str, Any], str, str], ...] = (
        (np.ones((24, 35), np.uint8), {}, "!=0", "does not cover"),
        (np.ones((24, 36), np.uint8), {"crs": "EPSG:32633"}, "!=0", "coordinate system"),
        (np.ones((24, 36), np.float32), {}, "bits 1=0", "no bits"),
        (np.ones((2, 24, 36), np.uint8), {}, "!=0", "2 bands"),
    )
    for values, how, rule, says in cases:
        mask = band_file(tmp_path / "m.tif", values, **how)
        with pytest.raises(InputError, match=says):
            open_image(path, scratch=tmp_path, wanted=Wanted(reading=Reading(valid=(f"{mask}:{rule}",))))
    for text, says in (("scl", "beside"), ("gone.tif:!=0", "does not exist")):
        with pytest.raises(InputError, match=says):
            open_image(path, scratch=tmp_path, wanted=Wanted(reading=Reading(valid=(text,))))


def test_a_preset_finds_its_raster_beside_the_image(band_file: Callable[..., Path], tmp_path: Path) -> None:
    path = band_file(tmp_path / "x.tif", np.ones((24, 36), np.uint8))
    classes = np.full((24, 36), 4, np.uint8)
    classes[5, 6] = 8
    band_file(tmp_path / "x_SCL.tif", classes)
    band_file(tmp_path / "y_SCL.tif", classes)
    image = open_image(path, scratch=tmp_path, wanted=Wanted(reading=Reading(valid=("scl",))))
    found = image.read(WHOLE).unobserved
    assert found is not None
    assert np.argwhere(found).tolist() == [[5, 6]]
    image.close()


def test_the_digest_knows_masks_and_metadata(
    band_file: Callable[..., Path], landsat: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    path = band_file(tmp_path / "a.tif", np.ones((24, 36), np.uint8))
    mask = band_file(tmp_path / "m.tif", np.ones((24, 36), np.uint8))
    reading = Reading(valid=(f"{mask}:!=0",))
    alone, first = input_digest(path, cache=cache), input_digest(path, reading=reading, cache=cache)
    band_file(mask, np.eye(24, 36, dtype=np.uint8))
    assert alone != first != input_digest(path, reading=reading, cache=cache)
    assert input_digest(path, cache=cache) == alone
    bands = sorted(landsat.glob("*_SR_B[34].TIF"))
    metadata = next(landsat.glob("*_MTL.txt"))
    whole, two = input_digest(metadata, cache=cache), input_digest(bands, cache=cache)
    metadata.write_text(metadata.read_text().replace("2.75e-05", "2.76e-05"))
    assert input_digest(metadata, cache=cache) != whole
    assert input_digest(bands, cache=cache) != two


def test_where_a_mask_lies_does_not_make_a_result_another() -> None:
    def digest(*valid: str) -> str:
        return Parameters(reading=Reading(valid=valid)).digest()

    assert digest("a.tif:!=0") == digest("/else/where:b.tif:!=0") == digest("s3://b/k.tif:!=0")
    assert len({digest(), digest("a.tif:!=0"), digest("a.tif:!=1"), digest("scl"), digest("scl:4")}) == 5
    assert absolute_rule("a.tif:scl:4,5") == f"{Path.cwd() / 'a.tif'}:scl:4,5"
    assert absolute_rule("band:q:!=0") == "band:q:!=0"
