"""The prediction of the full run's time, by arithmetic."""

from __future__ import annotations

import pytest

from tasks.planning.estimate import all_blocks


def test_start_up_is_paid_once() -> None:
    """3 s to begin, then a block of 4 batches every 2 s; 100 batches are 96 more of half a second."""
    ended = [(5.0, 4), (7.0, 4), (9.0, 4)]
    assert all_blocks(ended, workers=1, batches=100) == pytest.approx(5 + 96 / 2)


def test_workers_end_together() -> None:
    ended = [(4.9, 4), (5.0, 4), (6.9, 4), (7.0, 4)]
    assert all_blocks(ended, workers=2, batches=16) == pytest.approx(5 + 8 / 4)


def test_too_few_blocks_to_tell_start_up_apart_are_scaled() -> None:
    assert all_blocks([(3.0, 2)], workers=2, batches=20) == pytest.approx(30)


def test_a_preview_of_all_is_what_it_took() -> None:
    ended = [(2.0, 3), (3.0, 3), (4.5, 1)]
    assert all_blocks(ended, workers=1, batches=7) == pytest.approx(4.5)
