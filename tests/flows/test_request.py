"""What a command line says of reading an image reaches the run, and names its result."""

from __future__ import annotations

from pathlib import Path

from flows.request import make_request
from tasks.imagery.wanted import Reading


def test_options_of_reading_are_part_of_what_is_done(tmp_path: Path) -> None:
    asked = {"image": tmp_path / "a.tif", "model": "water-ndwi", "out": tmp_path}
    plain = make_request(**asked).parameters
    assert plain.reading == Reading()
    read = make_request(
        **asked, bands="B4, 3,842nm", valid=["scl"], units="stored", layer="x", frame=2, fill_missing=True
    ).parameters
    assert read.reading == Reading(
        bands=("B4", "3", "842nm"), valid=("scl",), units="stored", layer="x", frame=2, missing=True
    )
    assert read.digest() != plain.digest()
