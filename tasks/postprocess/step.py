"""The post-processing step: the stitched mask with a card's global steps, kept as a flat file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.codes import codes_of
from tasks.files import atomic_write, writing
from tasks.planning.plan import Plan
from tasks.postprocess.flat import FlatMask
from tasks.postprocess.passes import process
from tasks.previews.area import open_seen
from tasks.regions.sizes import pixel_sizes
from tasks.stitching.open import open_stitch
from tasks.stitching.stitch import Band, Bands
from tasks.work import WorkFolder

_MASK = "postprocessed.raw"
_CHANGES = "postprocess.json"


class _Replaced:
    """The bands of a stitch with the codes of a flat mask; confidence stays the model's."""

    def __init__(self, stitch: Bands, flat: FlatMask) -> None:
        self._stitch, self._flat = stitch, flat

    def bands(self) -> Iterator[Band]:
        first = 0
        for band in self._stitch.bands():
            count = band.codes.size // (self._flat.slice_shape[0] * self._flat.slice_shape[1])
            codes = self._flat.read(first, count).reshape(band.codes.shape)
            first += count
            yield replace(band, codes=codes)


def postprocess_item(work: WorkFolder) -> None:
    """Applies a card's steps to the whole mask of a run whose blocks are finished.

    Raises:
        OutputError: The mask's flat copy cannot be written.
    """
    plan = Plan.load(work.plan)
    if not plan.card.postprocess:
        return
    image = open_seen(plan, scratch=work.scratch)
    try:
        info = image.info
    finally:
        image.close()
    flat = _flat(plan, work)
    with writing(flat.path):
        flat.path.unlink(missing_ok=True)
        first = 0
        for band in open_stitch(plan, work).bands():
            codes = band.codes.reshape(-1, *flat.slice_shape)
            flat.write(first, codes)
            first += codes.shape[0]
        changes = process(flat, plan.card, wraps=info.wraps[-1], sizes=pixel_sizes(info))
    with atomic_write(work.run / _CHANGES) as stream:
        stream.write(json.dumps(changes.as_json()).encode())


def open_finished(plan: Plan, work: WorkFolder) -> Bands:
    """The mask as it is published: stitched, and post-processed where the card asks for it."""
    stitch = open_stitch(plan, work)
    return _Replaced(stitch, _flat(plan, work)) if plan.card.postprocess else stitch


def read_changes(run: Path) -> dict[str, Any] | None:
    """What post-processing changed in a run, in all and per step; None where its card asks for none."""
    path = run / _CHANGES
    held: dict[str, Any] | None = json.loads(path.read_bytes()) if path.exists() else None
    return held


def remove_flat(work: WorkFolder) -> None:
    """Removes what the step left, once the result is published."""
    for name in (_MASK, _CHANGES):
        (work.run / name).unlink(missing_ok=True)


def _flat(plan: Plan, work: WorkFolder) -> FlatMask:
    low, high = plan.bounds
    shape = tuple(h - a for a, h in zip(low, high, strict=True))
    return FlatMask(work.run / _MASK, shape, codes_of(plan.card).dtype)
