"""The logits of the user's own framework against ours, and the likely cause where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segmodels.engines.backend import Array, Run
from segmodels.engines.loading import TOLERANCE
from segmodels.errors import BundleError, ModelError
from segmodels.importing.wishes import IMAGENET


@dataclass(frozen=True)
class Expected:
    """What the user's framework took and gave, as we have it.

    Attributes:
        file: Where it was read.
        input: ``(1, *sides, channels)``, as it entered the model.
        logits: ``(1, *sides, logits)``, or probabilities.
        probabilities: Whether they are that.
    """

    file: Path
    input: Array
    logits: Array
    probabilities: bool


@dataclass(frozen=True)
class Agreement:
    """How near we come.

    Attributes:
        worst: Largest difference of a logit (of a probability, if those were given).
        bound: What was allowed.
        classes: Share of pixels with the same class.
        pixels: Compared.
    """

    worst: float
    bound: float
    classes: float
    pixels: int

    def __str__(self) -> str:
        return (
            f"{self.classes:.2%} of {self.pixels} pixels have the same class, the largest difference of a logit is "
            f"{self.worst:.2g} ({self.bound:.2g} may be)"
        )


def read_expected(file: Path, *, ndim: int, channels: int, logits: int) -> Expected:
    """Reads ``input`` and ``logits``, channels first or last, with a batch axis or without.

    Raises:
        BundleError: The arrays are missing or do not fit the model; says what to save.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            x, y = arrays["input"], arrays["logits"]
    except (KeyError, ValueError, OSError) as error:
        raise BundleError(
            f"--expect {file} does not hold the arrays 'input' and 'logits' ({error}); save them with "
            "numpy.savez(file, input=x, logits=model(x))."
        ) from error
    choices = [
        (a, b)
        for first in (True, False)
        if (a := _channels_last(x, ndim, channels, first=first)) is not None
        and (b := _channels_last(y, ndim, logits, first=first)) is not None
    ]
    if not choices:
        raise BundleError(
            f"--expect {file} holds input {x.shape} and logits {y.shape}, but the model takes {channels} channels and "
            f"gives {logits}; save exactly what entered the model and what left it."
        )
    fitting = [(a, b) for a, b in choices if a.shape[:-1] == b.shape[:-1]]
    if not fitting:
        a, b = choices[0]
        raise BundleError(
            f"--expect {file} holds an input of {_by(a)} and logits of {_by(b)} pixels: your framework resizes outside "
            "the model; put that resize into it, export again, and save what it gives then."
        )
    a, b = fitting[0]
    sums = b.shape[-1] > 1 and b.min() >= 0 and np.allclose(b.sum(axis=-1), 1, atol=1e-3)
    return Expected(file, a[:1], b[:1], bool(sums or (b.shape[-1] == 1 and b.min() >= 0 and b.max() <= 1)))


def compare(run: Run, expected: Expected) -> Agreement:
    """Runs the input of the user's framework and compares.

    Raises:
        BundleError: The logits differ; names the likely cause.
    """
    found = _comparable(run(expected.input), expected)
    agreement = _agreement(found, expected)
    if agreement.worst <= agreement.bound:
        return agreement
    cause = _cause(run, expected, agreement)
    raise BundleError(f"The model does not give the logits of {expected.file}: {agreement}. {cause}")


def _agreement(found: Array, expected: Expected) -> Agreement:
    y = expected.logits
    bound = TOLERANCE * (1.0 if expected.probabilities else max(1.0, float(np.abs(y).max())))
    middle = 0.5 if expected.probabilities else 0.0
    same = np.mean(_classes(found, middle) == _classes(y, middle))
    return Agreement(float(np.abs(found - y).max()), bound, float(same), int(np.prod(y.shape[:-1])))


def _cause(run: Run, expected: Expected, agreement: Agreement) -> str:
    for words, other in _others(expected.input):
        try:
            found = _comparable(run(np.ascontiguousarray(other, np.float32)), expected)
        except ModelError:
            continue
        if found.shape == expected.logits.shape and (_agreement(found, expected).worst <= agreement.bound):
            return words
        turned = np.swapaxes(found, -3, -2)
        fits = "height" in words and turned.shape == expected.logits.shape
        if fits and _agreement(turned, expected).worst <= agreement.bound:
            return words
    if agreement.classes >= 0.98:
        return (
            "Nearly all classes agree, so the weights are probably right: the likely cause is a resize done otherwise "
            "(align_corners, antialias), or lower precision (half, autocast, TF32); export and save both in float32."
        )
    return (
        "Neither another layout nor a usual normalisation explains it: the likely cause is a model in training "
        "mode (call model.eval() before exporting and before saving the logits), or other weights; save both again."
    )


def _others(x: Array) -> Iterator[tuple[str, Array]]:
    """What may have been done to the input, with the sentence that says so."""
    yield (
        "The likely cause is the layout: height and width are swapped in the input; save it as it enters the model.",
        np.swapaxes(x, -3, -2),
    )
    if x.shape[-1] > 1:
        yield (
            "The likely cause is the order of the channels: reversed (BGR for RGB) they agree; save the input as it "
            "enters the model.",
            x[..., ::-1],
        )
    normalised = "The likely cause is the normalisation: they agree if the input is first {}; save the input after your own normalisation, and give --normalise {}."
    yield normalised.format("divided by 255", "scale:0,255"), x / np.float32(255)
    if x.shape[-1] == 3:
        mean, std = np.asarray(IMAGENET).T
        yield (
            normalised.format("normalised as ImageNet", "imagenet"),
            np.asarray((x / 255 - mean) / std, np.float32),
        )
        yield (
            normalised.format("normalised by ImageNet's mean and spread", "imagenet"),
            np.asarray((x - mean) / std, np.float32),
        )
    axes = tuple(range(1, x.ndim - 1))
    spread = x.std(axis=axes, keepdims=True)
    z = (x - x.mean(axis=axes, keepdims=True)) / np.where(spread > 0, spread, 1)
    yield normalised.format("normalised to mean 0 and spread 1", "zscore"), z
    yield (
        "The likely cause is the normalisation: they agree if the input is multiplied by 255; save the input as it "
        "enters the model, and give --normalise none.",
        x * 255,
    )


def _comparable(found: Array, expected: Expected) -> Array:
    """Ours as the user's: logits, or probabilities."""
    if not expected.probabilities:
        return found
    if found.shape[-1] == 1:
        return np.asarray(1 / (1 + np.exp(-found.astype(np.float64))), np.float32)
    out = np.exp(found - found.max(axis=-1, keepdims=True))
    return np.asarray(out / out.sum(axis=-1, keepdims=True), np.float32)


def _channels_last(array: npt.NDArray[np.generic], ndim: int, channels: int, *, first: bool) -> Array | None:
    """``(b, *sides, channels)`` float32, or None if the array has no such axis there."""
    if array.ndim == ndim + 1:
        array = array[None]
    if array.ndim != ndim + 2 or array.shape[1 if first else -1] != channels or array.dtype.kind not in "fiu":
        return None
    return np.ascontiguousarray(np.moveaxis(array, 1, -1) if first else array, np.float32)


def _classes(logits: Array, middle: float) -> npt.NDArray[np.generic]:
    return logits[..., 0] > middle if logits.shape[-1] == 1 else np.argmax(logits, axis=-1)


def _by(array: Array) -> str:
    return "×".join(map(str, array.shape[1:-1]))
