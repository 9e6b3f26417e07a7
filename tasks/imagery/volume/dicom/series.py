"""Which series of a folder is segmented: the user's word first, then the card's rule, and never a guess."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from segmodels.bundles.series import SeriesRule
from tasks.errors import InputError
from tasks.imagery.volume.dicom.slices import CONTENTS, FOREIGN, Frame, Header, Reject
from tasks.imagery.volume.dicom.stack import Stack, StackError, orientation_of, stack
from tasks.imagery.wanted import Wanted
from tasks.privacy.keys import plain_series_key

#: Words for machines that a sentence may say; anything else might be a name.
MODALITIES = ("CT", "MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF", "OT", "OCT", "OPT")
_LISTED = 12


@dataclass(frozen=True)
class Series:
    """The slices of one series.

    Attributes:
        uid: Of the series.
        space: UID of its frame of reference.
        number: As the scanner counts; need not be unique.
        modality: As ``CT``.
        description: Free text; never said.
        kernel: Convolution kernel; never said.
        frames: In the order of the files.
    """

    uid: str
    space: str
    number: str
    modality: str
    description: str
    kernel: str
    frames: tuple[Frame, ...]

    @property
    def key(self) -> str:
        """A short name without the patient's; of a private image it becomes a keyed one, see ``tasks.privacy``."""
        return plain_series_key(self.uid)

    def __str__(self) -> str:
        f = self.frames[0]
        n = len(self.frames)
        number = f", number {self.number}" if self.number.lstrip("-").isdigit() else ""
        machine = self.modality if self.modality in MODALITIES else "another modality"
        thick = "" if f.thickness is None else f", {f.thickness:g} mm thick"
        return (
            f"{self.key} ({machine}{number}, {orientation_of(f)}, {n} slice{'s' * (n != 1)} of "
            f"{f.stored.columns} × {f.stored.rows}{thick})"
        )


@dataclass(frozen=True)
class Chosen:
    """What of a folder is read.

    Attributes:
        stacks: One volume per channel; None for a channel that is missing and filled.
        notes: Sentences on what is not read, and why.
        suspicions: Reasons why the result may be wrong.
    """

    stacks: tuple[Stack | None, ...]
    notes: tuple[str, ...]
    suspicions: tuple[str, ...] = ()


def gather(found: tuple[Header, ...]) -> tuple[Series, ...]:
    """Series by UID, in the order of their numbers."""
    by: dict[str, list[Header]] = {}
    for header in found:
        by.setdefault(header.series, []).append(header)
    made = []
    for uid, heads in by.items():
        h = heads[0]
        frames = tuple(f for one in heads for f in one.frames)
        space = h.space if all(one.space == h.space for one in heads) else ""
        made.append(Series(uid, space, h.number, h.modality, h.description, h.kernel, frames))
    return tuple(sorted(made, key=lambda s: (s.number.zfill(8), s.uid)))


def choose(label: str, found: tuple[Header, ...], rejects: tuple[Reject, ...], wanted: Wanted) -> Chosen:
    """Picks one series, or one per channel.

    Args:
        label: What a sentence calls the input.
        found: Headers of slices.
        rejects: Files without any.
        wanted: The card's rules and the user's ``layer``: numbers, UIDs, descriptions or keys of series, for
            several channels with commas between.

    Raises:
        InputError: None fits, several do, or they are no volumes; lists them.
    """
    every = gather(found)
    if not every:
        raise InputError(f"{label} holds no slice that can be read ({_counted(rejects)}): export it again")
    notes = (f"Files left out: {_counted(rejects)}.",) if rejects else ()
    channels = len(wanted.channels) or wanted.count or 1
    layers = [] if wanted.reading.layer is None else [wanted.reading.layer]
    if layers and channels > 1:
        layers = [text.strip() for text in layers[0].split(",")]
        if len(layers) != channels:
            raise InputError(
                f"--layer names {len(layers)} series and the model has {channels} channels: name one for each, "
                "in its order, with commas between"
            )
    if channels == 1:
        rule = wanted.series or (wanted.channels[0].series if wanted.channels else None)
        one = _named(label, every, layers[0]) if layers else _by_rule(label, every, rule or SeriesRule())
        return Chosen((_stacked(label, one),), notes + _taken(every, (one,)))
    return _several(label, every, notes, layers, wanted)


def _several(
    label: str, every: tuple[Series, ...], notes: tuple[str, ...], layers: list[str], wanted: Wanted
) -> Chosen:
    """One series per channel, on one grid."""
    if layers:
        picked: list[Series | None] = [_named(label, every, layer) for layer in layers]
    elif not wanted.channels:
        raise InputError(f"{label} holds {_list(every)}: name one for each channel as --layer 2,3")
    else:
        picked = []
        for channel in wanted.channels:
            rule = channel.series or SeriesRule(description=rf"\b{re.escape(channel.name)}\b")
            fits = [
                s for s in every if not _against(s, wanted.series or SeriesRule()) and not _against(s, rule)
            ]
            fits = [s for s in fits if _problem(s) is None] or fits
            if len(fits) > 1:
                raise InputError(
                    f"{label} has {len(fits)} series that may be {channel.name}: {_list(fits)}; name one for each "
                    "channel with --layer, in the model's order, with commas between"
                )
            picked.append(fits[0] if fits else None)
    there = [s for s in picked if s is not None]
    missing = [c for c, s in zip(wanted.channels, picked, strict=False) if s is None]
    names = ", ".join(c.name for c in missing)
    if missing and (not there or not all(c.series is not None and c.series.may_miss for c in missing)):
        raise InputError(
            f"{label} is incomplete: no series for {names} among {_list(every)}; add it, or name the series with "
            "--layer"
        )
    if missing and not wanted.reading.missing:
        raise InputError(
            f"{label} is incomplete: no series for {names} among {_list(every)}; add it, or let zeros stand "
            "for it with --fill-missing"
        )
    stacks = [None if s is None else _stacked(label, s) for s in picked]
    _check_one_grid(label, there, [s for s in stacks if s is not None])
    doubts = (f"The input is incomplete: zeros stand for {names}.",) if missing else ()
    return Chosen(tuple(stacks), notes + _taken(every, tuple(there)), doubts)


def _check_one_grid(label: str, series: list[Series], stacks: list[Stack]) -> None:
    first = stacks[0]
    for one, other in zip(series[1:], stacks[1:], strict=True):
        a, b = first.frames[0][0].stored, other.frames[0][0].stored
        sizes = (a.columns, a.rows, len(first.frames[0]), len(first.frames))
        others = (b.columns, b.rows, len(other.frames[0]), len(other.frames))
        apart = float(abs(first.affine - other.affine).max())
        same_space = one.space == series[0].space
        if sizes != others or apart > 0.01 * min(first.frames[0][0].spacing) or not same_space:
            raise InputError(
                f"{label}: the series {series[0]} and {one} do not lie on one grid: register and resample them, "
                "and give NIfTI files"
            )


def meant(every: tuple[Series, ...], layer: str) -> list[Series]:
    """Series that have a UID or key, else a number, else a description; every one that has it."""
    wanted = layer.strip().lower()
    fits = [s for s in every if wanted in (s.uid, s.key)]
    fits = fits or [s for s in every if wanted and wanted == s.number]
    return fits or [s for s in every if wanted and wanted == s.description.strip().lower()]


def _named(label: str, every: tuple[Series, ...], layer: str) -> Series:
    fits = meant(every, layer)
    if len(fits) != 1:
        many = f"{len(fits)} series" if fits else "no series"
        raise InputError(f"{label} has {many} that --layer means; it holds {_list(fits or every)}")
    return fits[0]


def _by_rule(label: str, every: tuple[Series, ...], rule: SeriesRule) -> Series:
    against = {s.uid: _against(s, rule) for s in every}
    fits = [s for s in every if not against[s.uid]]
    if not fits:
        reasons = "; ".join(f"{s}: {against[s.uid]}" for s in every[:_LISTED])
        raise InputError(f"{label} has no series that the model takes ({reasons}): choose one with --layer")
    whole = [s for s in fits if _problem(s) is None]
    if len(whole) == 1 or len(fits) == 1:
        return (whole or fits)[0]
    if not whole:
        reasons = "; ".join(f"{s}: {_problem(s)}" for s in fits[:_LISTED])
        raise InputError(f"{label} has no series that is a volume: {reasons}")
    raise InputError(
        f"{label} has {len(whole)} series that may be meant: {_list(whole)}; choose one with --layer"
    )


def _against(series: Series, rule: SeriesRule) -> str:
    """Why a rule does not take a series; empty if it does."""
    f = series.frames[0]
    if rule.modality is not None and series.modality != rule.modality:
        return f"not {rule.modality}"
    if rule.orientation is not None and orientation_of(f) != rule.orientation:
        return f"not {rule.orientation}"
    thick = f.thickness
    if rule.minimum_thickness is not None and (thick is None or thick < rule.minimum_thickness):
        return f"slices thinner than {rule.minimum_thickness:g} mm"
    if rule.maximum_thickness is not None and (thick is None or thick > rule.maximum_thickness):
        return f"slices thicker than {rule.maximum_thickness:g} mm"
    if rule.kernel is not None and not re.match(rule.kernel, series.kernel):
        return "another convolution kernel"
    if rule.description is not None and not re.search(rule.description, series.description, re.IGNORECASE):
        return "another description"
    return ""


@lru_cache(maxsize=32)
def _stack_of(frames: tuple[Frame, ...]) -> Stack | str:
    """Of a series, or why it is none."""
    try:
        return stack(frames)
    except StackError as error:
        return str(error)


def _problem(series: Series) -> str | None:
    made = _stack_of(series.frames)
    return made if isinstance(made, str) else None


def _stacked(label: str, series: Series) -> Stack:
    made = _stack_of(series.frames)
    if isinstance(made, str):
        raise InputError(f"{label}: the series {series} {made}")
    return made


def _taken(every: tuple[Series, ...], taken: tuple[Series, ...]) -> tuple[str, ...]:
    left = [s for s in every if s not in taken]
    return (f"Series taken: {_list(taken)}.", *((f"Series left out: {_list(left)}.",) if left else ()))


def _list(series: tuple[Series, ...] | list[Series]) -> str:
    more = f" and {len(series) - _LISTED} more" if len(series) > _LISTED else ""
    return ", ".join(map(str, series[:_LISTED])) + more


def _counted(rejects: tuple[Reject, ...]) -> str:
    counts = Counter(r.reason for r in rejects)
    phrases = [_phrase(reason, n) for reason, n in counts.most_common()]
    # A remedy has a colon before it, and would be read as that of the next phrase too.
    return ("; " if any(":" in p for p in phrases) else ", ").join(phrases) or "no file"


def _phrase(reason: str, n: int) -> str:
    if reason == CONTENTS:
        return f"{n} {CONTENTS}"
    if reason == FOREIGN:
        return f"{n} that {'is' if n == 1 else 'are'} {FOREIGN}"
    return f"{n} DICOM file{'s' * (n != 1)} {reason}"
