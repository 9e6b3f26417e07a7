"""The arithmetic of the benchmark: turns, ratios, medians, goals, and the table that shows them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.harness import Figure, Goal, Row, Settings, UnavailableError, interleave, ratios, run_row
from benchmarks.rows import NAMES, load
from benchmarks.table import markdown, save


def settings(folder: Path, **fields: float) -> Settings:
    return Settings(folder, note=lambda _: None, **fields)  # type: ignore[arg-type]


def test_contestants_take_turns_and_swap_the_first_place() -> None:
    order: list[str] = []

    def contestant(name: str) -> int:
        order.append(name)
        return len(order)

    results = interleave({n: (lambda n=n: contestant(n)) for n in "ab"}, repeats=3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert results == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_the_median_is_of_the_rounds_ratios_not_the_ratio_of_medians() -> None:
    figure = Figure("speed", ratios([1, 4, 9], [2, 2, 3]), goal=Goal("≥", 2.5))
    assert figure.values == (0.5, 2.0, 3.0)
    assert figure.median == 2.0  # as the ratio of medians; the next one tells them apart
    assert Figure("speed", ratios([1, 6, 2], [2, 3, 8])).median == 0.5
    assert figure.met is False
    assert Figure("peak", (1.0, 1.1, 1.04), goal=Goal("≤", 1.05)).met is True
    assert Figure("peak", (1.0,)).met is None


def test_rounds_must_pair_up() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("scale", "axes", "side"), [(1, 2, 8192), (0.25, 2, 4096), (0.125, 3, 4096)])
def test_scale_is_a_share_of_the_pixels(tmp_path: Path, scale: float, axes: int, side: int) -> None:
    assert settings(tmp_path, scale=scale).side(8192, axes=axes) == side


def test_a_row_that_cannot_run_says_why_and_one_that_breaks_is_marked(tmp_path: Path) -> None:
    def unavailable(_: Settings) -> Sequence[Figure]:
        raise UnavailableError("no such thing here")

    def broken(_: Settings) -> Sequence[Figure]:
        raise RuntimeError("segflow exited with 3")

    def infinite(_: Settings) -> Sequence[Figure]:
        return [Figure("speed", (float("inf"),))]

    def why_not(measure: object) -> tuple[str, bool]:
        (figure,) = run_row(Row("row", "about", measure), settings(tmp_path))  # type: ignore[arg-type]
        assert figure.median is None
        return figure.why_not, figure.failed

    assert why_not(unavailable) == ("no such thing here", False)
    assert why_not(broken) == ("RuntimeError: segflow exited with 3", True)
    assert why_not(infinite) == ("not a number: speed", True)


def test_the_table_shows_medians_goals_verdicts_and_reasons(tmp_path: Path) -> None:
    figures = {
        "fast": [
            Figure("a|b", (0.5, 1.25, 1.0), goal=Goal("≥", 0.9), details={"side": 8192, "s": [1.5, 2.25]})
        ],
        "slow": [Figure("wait", (7.0,), unit="s", goal=Goal("≤", 5))],
        "absent": [Figure("nothing", why_not="not\nhere"), Figure("broken", why_not="why", failed=True)],
    }
    text = markdown(figures, machine={"cores": "2"}, scale=0.25)
    assert "| fast | a/b | 1 | 0.5, 1.25, 1 | ≥ 0.9 | yes |" in text
    assert "| slow | wait | 7 s | 7 | ≤ 5 s | **no** |" in text
    assert "| absent | nothing | not measured: not here |  |  |  |" in text
    assert "| absent | broken | failed: why |  |  |  |" in text
    assert "- fast: side 8192; s 1.5, 2.25" in text
    assert "At scale 0.25" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1

    started = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    file = save(tmp_path, figures, machine={"cores": "2"}, settings={"scale": 0.25}, started=started)
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["rows"]["fast"][0]["median"] == 1.0
    assert kept["rows"]["slow"][0]["met"] is False
    assert file.with_suffix(".md").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", NAMES)
def test_every_row_can_be_named(name: str) -> None:
    assert load(name).name == name
