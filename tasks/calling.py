"""How the steps of a training or an evaluation are called: as they are, or by a scheduler that shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Call(Protocol):
    """Runs a step, so that a scheduler can show it as one."""

    def __call__(self, name: str, step: Callable[[], T]) -> T:
        """What the step gives."""
        ...


def directly(name: str, step: Callable[[], T]) -> T:
    """Runs a step as it is."""
    return step()
