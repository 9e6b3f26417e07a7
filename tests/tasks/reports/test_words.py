"""Numbers as people read them."""

from __future__ import annotations

import pytest

from tasks.reports import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (148_939_062.0, "148,939,062"), (1234.5678, "1,235"), (12.3456, "12.35"), (0.0012345, "0.001234"),
        (29.0, "29.00"), (0.0, "0"), (7, "7"), (1_000_000, "1,000,000"),
        (-12.5, "−12.50"), (1e-9, "1.000e−09"),
        (None, "–"), (float("nan"), "–"), (float("inf"), "–"),
    ],
)  # fmt: skip
def test_number(value: float | None, text: str) -> None:
    assert words.number(value) == text


def test_percent_never_hides_a_presence() -> None:
    assert words.percent(0.0) == "0.00 %"
    assert words.percent(1e-7) == "< 0.01 %"
    assert words.percent(0.2912) == "29.12 %"


def test_duration_and_size() -> None:
    assert [words.duration(s) for s in (0.02, 3.14, 61, 3725)] == [
        "20 ms",
        "3.1 s",
        "1 min 01 s",
        "1 h 02 min",
    ]
    assert [words.data_size(n) for n in (12, 1536, 731_906_048, 5 * 2**40)] == [
        "12 B",
        "1.5 KiB",
        "698 MiB",
        "5.0 TiB",
    ]


@pytest.mark.parametrize(
    ("base", "size", "label", "factor"),
    [
        ("m2", 5e6, "km²", 1e-6),
        ("m2", 9e5, "m²", 1),
        ("mm3", 5e5, "mL", 1e-3),
        ("mm3", 50, "mm³", 1),
        ("mm3", 1e-6, "µm³", 1e9),
        ("pixels", 9, "pixels", 1),
    ],
)
def test_size_unit(base: str, size: float, label: str, factor: float) -> None:
    unit = words.size_unit({"units": {"size": base}, "classes": [{"size": size}, {"size": size / 2}]})
    assert (unit.label, unit.factor) == (label, factor)


def test_only_a_patient_has_sides_and_cells_are_measured_in_micrometres() -> None:
    assert words.length_unit({"spacing": [2.0, 1.0, 1.0]}) == words.Unit("mm, R A S", 1.0)
    cells = {"spacing": [0.0, 0.0005, 0.00026, 0.00026], "patient": False}
    assert words.length_unit(cells) == words.Unit("µm, x y z", 1000.0)
    assert words.length_unit({"spacing": [1.0, 1.0, 1.0], "patient": False}).label == "mm, x y z"


def test_reserved_codes() -> None:
    assert words.reserved_codes({"bundle": {"classes": [{"code": 252}]}}) == {
        "nodata": 255,
        "failed": 254,
        "unobserved": 253,
    }
    assert words.reserved_codes({"bundle": {"classes": [{"code": 300}]}})["nodata"] == 65535


def test_place() -> None:
    assert words.degrees(-98.5, -12.25) == "12.250° S, 98.500° W"
    assert words.degrees(float("nan"), 1.0) == "–"


def test_long_names_are_cut_in_the_middle() -> None:
    assert words.shorten("a" * 10, 10) == "a" * 10
    cut = words.shorten("a" * 500 + "b" * 500, 100)
    assert len(cut) <= 101
    assert cut.startswith("aaa")
    assert cut.endswith("bbb")
