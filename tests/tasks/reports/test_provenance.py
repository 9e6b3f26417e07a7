"""What decided a result, as the page lists it."""

from __future__ import annotations

import copy
from typing import Any

from tasks.planning.plan import Parameters
from tasks.reports.provenance import provenance


def test_only_what_was_asked_is_listed(earth: Any) -> None:
    record = copy.deepcopy(earth.record)
    asked = Parameters(spacing="card").model_dump(mode="json")
    record["parameters"] |= {"asked": asked, "normaliser": {"low": ["-inf"], "high": ["inf"], "scale": ["2"]}}
    rows = {k: v for k, v, _ in dict(provenance(record))["Parameters"]}
    assert rows["Asked"] == "nothing but the defaults"
    assert rows["Normaliser"] == "scale 2"
    assert rows["Block"] == "4 × 4 tiles"
    asked["reading"]["bands"], asked["spacing"], asked["tile"] = ["B4", "B3"], "native", [64, 64]
    rows = {k: v for k, v, _ in dict(provenance(record))["Parameters"]}
    assert rows["Asked"] == "tile 64 × 64; bands B4, B3; spacing native"


def test_pixels_have_a_unit(earth: Any) -> None:
    rows = {k: v for k, v, _ in dict(provenance(earth.record))["Input"]}
    assert rows["Pixel"] == "30 × 30 m"
