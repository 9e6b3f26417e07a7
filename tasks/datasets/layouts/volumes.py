"""What Medical Segmentation Decathlon and nnU-Net share: labels and channels of their ``dataset.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segmodels.bundles.card import ChannelCard, ClassCard
from tasks.datasets.dataset import IGNORE
from tasks.datasets.manifest import make_classes
from tasks.errors import InputError


def read_labels(value: dict[str, Any], path: Path) -> tuple[tuple[ClassCard, ...], dict[int, int]]:
    """Classes and values from ``labels``, as ``{"0": "background"}`` or ``{"background": 0}``.

    Raises:
        InputError: There are none, they overlap (nnU-Net's regions), or a value is no number.
    """
    labels = value.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise InputError(f'{path} has no \'labels\'; name them as {{"background": 0, "liver": 1}}.')
    names: dict[int, str] = {}
    for key, entry in labels.items():
        if isinstance(entry, list):
            raise InputError(
                f"{path}: label {key!r} is a region of several values; such overlapping labels cannot be read: "
                "give every value a name of its own."
            )
        name, number = (entry, key) if str(key).lstrip("-").isdigit() else (key, entry)
        try:
            names[int(number)] = str(name)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: label {name!r} has the value {number!r}, no number.") from error
    ignored = [number for number, name in names.items() if name.lower() == "ignore"]
    kept = sorted(set(names) - set(ignored))
    if len(kept) < 2 or kept[0] < 0:
        raise InputError(f"{path} names fewer than two labels from 0 on; name the background too.")
    classes = make_classes([names[number] for number in kept], kept)
    return classes, {number: number for number in kept} | dict.fromkeys(ignored, IGNORE)


def read_channels(value: dict[str, Any], path: Path) -> tuple[ChannelCard, ...]:
    """Channels from ``channel_names`` (nnU-Net v2) or ``modality`` (v1 and the Decathlon).

    Raises:
        InputError: There are none.
    """
    channels = value.get("channel_names", value.get("modality"))
    if not isinstance(channels, dict) or not channels:
        raise InputError(f"{path} has neither 'channel_names' nor 'modality'; name the channels.")
    try:
        order = sorted(channels, key=int)
    except ValueError as error:
        raise InputError(f"{path}: the channels' keys must be 0, 1, …, not {list(channels)}.") from error
    names = [str(channels[key]) for key in order]
    return tuple(ChannelCard(name=name, units="HU" if name.upper() == "CT" else None) for name in names)


def details_of(value: dict[str, Any]) -> dict[str, Any]:
    """Free words of the file that are worth keeping."""
    words = ("name", "description", "reference", "licence", "license", "release", "citation")
    found = {word: value[word] for word in words if isinstance(value.get(word), str)}
    if "license" in found:
        found.setdefault("licence", found.pop("license"))
    return found
