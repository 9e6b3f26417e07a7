"""Augmentation by the names and options that a training's configuration uses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from segmodels.training.appearance import blur, contrast, grey, invert, power, shuffle_channels, tint
from segmodels.training.augment import Step, affine, bias_field, compose, flip, noise, quarter_turns


def _flip(*, axes: Sequence[int] = (0, 1)) -> Step:
    return flip(*axes)


STEPS: Mapping[str, Callable[..., Step]] = MappingProxyType(
    {
        "affine": affine,
        "bias_field": bias_field,
        "blur": blur,
        "contrast": contrast,
        "flip": _flip,
        "grey": grey,
        "invert": invert,
        "noise": noise,
        "power": power,
        "quarter_turns": quarter_turns,
        "shuffle_channels": shuffle_channels,
        "tint": tint,
    }
)


def known_options(name: str) -> list[str]:
    """Options of a step.

    Raises:
        KeyError: There is no such step.
    """
    return list(inspect.signature(STEPS[name]).parameters)


def make_steps(steps: Sequence[Mapping[str, Any]]) -> Step | None:
    """The steps one after the other; None for none.

    Args:
        steps: ``kind`` and the options of each.
    """
    if not steps:
        return None
    return compose(*(STEPS[s["kind"]](**{k: v for k, v in s.items() if k != "kind"}) for s in steps))
