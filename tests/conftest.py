"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.object_store import Store


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images beside the project; without them the test is skipped."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real test data (../shared/data) is missing")
    return folder


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store of objects on this machine, and the environment that leads to it."""
    from tests.object_store import running_store

    with running_store() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running
