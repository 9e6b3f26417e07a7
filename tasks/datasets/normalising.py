"""Which normalisation and which weights a data set asks for, as entries of a model's card."""

from __future__ import annotations

from segmodels.bundles.card import (
    Normalise,
    NormalisePercentile,
    NormaliseScale,
    NormaliseWindow,
    NormaliseZScore,
)
from tasks.datasets.fingerprint import ChannelPrint, Fingerprint

#: Share of exact zeros above which zero means "outside the head", not a measurement.
_MANY_ZEROS = 0.25
#: Spread between images above which each is normalised by its own percentiles.
_VARIED = 0.2
#: Weights never differ by more than this factor from 1.
_MOST_WEIGHT = 10.0
_RARE = 0.05


def plan_normalisation(f: Fingerprint) -> tuple[tuple[Normalise, ...], str]:
    """One entry per channel, and a sentence."""
    if f.modality == "ct":
        return tuple(_ct(c) for c in f.channels), (
            "CT numbers mean the same everywhere: a fixed window from the 0.5 and 99.5 percentiles of the "
            "foreground, then its mean and standard deviation."
        )
    if f.modality == "volume":
        empty = any(c.zeros >= _MANY_ZEROS for c in f.channels)
        entries = tuple(
            NormaliseZScore(foreground_above=0.0 if c.zeros >= _MANY_ZEROS and c.minimum >= 0 else None)
            for c in f.channels
        )
        about = " of its non-zero voxels" if empty else ""
        return entries, f"Intensities have no fixed unit, so each volume gets the z-score{about} of its own."
    eight_bit = all(c.dtype == "uint8" for c in f.channels)
    if max(c.varies for c in f.channels) > _VARIED:
        return tuple(NormalisePercentile(low=1.0, high=99.5) for _ in f.channels), (
            "Brightness differs between images by more than a fifth, so each is stretched between its own 1 and "
            "99.5 percentiles."
        )
    if eight_bit and f.modality == "picture":
        return (NormaliseScale(divisor=255.0),), "8-bit pictures of even brightness: divided by 255."
    if eight_bit:
        return tuple(_standard(c) for c in f.channels), (
            "8-bit bands of even brightness: the data set's own mean and standard deviation per band."
        )
    return tuple(_window(c) for c in f.channels), (
        "Reflectance (or another quantity) with the same meaning in every image: a fixed window per band between "
        "its 0.5 and 99.5 percentiles."
    )


def class_weights(f: Fingerprint) -> tuple[tuple[float, ...], str, str, str]:
    """Weights in the order of the classes (mean 1), the loss's name, and a sentence for each."""
    present = [share for share in f.shares if share > 0]
    raw = [(1 / share) ** 0.5 if share > 0 else 0.0 for share in f.shares]
    mean = sum(raw) / max(1, len(present))
    weights = [min(_MOST_WEIGHT, max(1 / _MOST_WEIGHT, r / mean)) if r else 1.0 for r in raw]
    scale = len(weights) / sum(weights)
    rounded = tuple(round(w * scale, 3) for w in weights)
    rarest = min(zip(present, [c for c, s in zip(f.classes, f.shares, strict=True) if s > 0], strict=True))
    why = "One over the root of each class's share of pixels: rare classes count more without drowning the rest."
    if rarest[0] < _RARE:
        loss = "dice_cross_entropy"
        because = f"{rarest[1]} fills {rarest[0]:.2%} of the pixels: Dice keeps it from being ignored."
    elif f.ndim == 3:
        loss, because = "dice_cross_entropy", "Dice and cross-entropy together, as is usual for volumes."
    else:
        loss, because = "cross_entropy", f"No class is rare (the rarest, {rarest[1]}, fills {rarest[0]:.1%})."
    return rounded, loss, why, because


def _ct(c: ChannelPrint) -> Normalise:
    look = c.foreground if c.foreground.count else c.all
    low, high = _ordered(look.p0_5, look.p99_5)
    return NormaliseWindow(low=low, high=high, offset=round(look.mean, 4), divisor=round(look.std, 4) or 1.0)


def _window(c: ChannelPrint) -> Normalise:
    low, high = _ordered(c.all.p0_5, c.all.p99_5)
    return NormaliseWindow(low=low, high=high)


def _standard(c: ChannelPrint) -> Normalise:
    return NormaliseScale(offset=round(c.all.mean, 4), divisor=round(c.all.std, 4) or 1.0)


def _ordered(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low, low + 1.0)
