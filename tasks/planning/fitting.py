"""What cannot fit is refused before any pixel is read, with the setting that would."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from segmodels.bundles.card import Card
from tasks.errors import InputError, UsageError
from tasks.imagery.protocol import ImageInfo
from tasks.planning.amount import say_bytes
from tasks.planning.budget import free_disk, memory_limit
from tasks.planning.layout import Layout, Limits, Wish, best_layout, default_layout, least_memory

#: Said where a resume cannot go on as the run began.
_NOT_KEPT = (
    "the blocks that an unfinished run of this item left are laid out in a way that does not fit what may be "
    "used or is asked for now: all blocks are computed again"
)


class FitError(InputError):
    """The run would need more memory or disk than it may use.

    Attributes:
        setting: Options that would make it fit, as one writes them; empty if none were found.
    """

    def __init__(self, sentence: str, *, setting: str = "") -> None:
        super().__init__(sentence)
        self.setting = setting


def limits_of(wish: Wish, folder: Path | None) -> Limits:
    """What a run may use: the machine's memory or what the user allows, and the free disk.

    Args:
        folder: Where the run writes, there or not; None: disk and memory are not looked at,
            except for what the user asked for.
    """
    machine = memory_limit() if folder is not None else 1 << 62
    memory = machine if wish.memory is None else min(machine, wish.memory)
    return Limits(memory, None if folder is None else free_disk(folder))


def fit(info: ImageInfo, card: Card, wish: Wish, *, model_ndim: int, limits: Limits) -> Layout:
    """The layout that a run will use.

    Raises:
        FitError: None fits; the sentence names a setting that does, tried with the same prices.
        UsageError: Sizes that the network cannot take.
    """
    best = best_layout(info, card, wish, model_ndim=model_ndim, limits=limits)
    if best is not None:
        return best
    if wish.keep is not None:
        anew = fit(info, card, replace(wish, keep=None), model_ndim=model_ndim, limits=limits)
        return replace(anew, notes=(*anew.notes, _NOT_KEPT))
    usual = default_layout(info, card, wish, model_ndim=model_ndim)
    setting = _remedy(info, card, wish, model_ndim=model_ndim, limits=limits)
    disk = "" if limits.disk is None else f" and {say_bytes(limits.disk)} of disk are free"
    what = (
        f"{info.source} would need {say_bytes(usual.needs.memory)} of memory and {say_bytes(usual.needs.disk)} of "
        f"disk as asked, but {say_bytes(limits.memory)} of memory may be used{disk}"
    )
    more = _more_memory(info, card, wish, model_ndim=model_ndim, limits=limits)
    either = dict.fromkeys(s for s in (setting, more) if s)
    help_ = f"give {' or '.join(either)}" if either else "use a machine with more of them, or a smaller image"
    setting = setting or more
    raise FitError(f"{what}: {help_}", setting=setting)


def _remedy(info: ImageInfo, card: Card, wish: Wish, *, model_ndim: int, limits: Limits) -> str:
    """The first change of settings that fits, those that keep the mask first; empty if none does."""
    for options, changed in _changes(card, wish, model_ndim):
        try:
            found = best_layout(info, card, changed, model_ndim=model_ndim, limits=limits)
        except UsageError:
            continue
        if found is None:
            continue
        if changed.block is None and wish.block is not None:
            named = replace(changed, block=_block_pixels(found))
            if best_layout(info, card, named, model_ndim=model_ndim, limits=limits) is None:
                continue
            return " ".join((f"--block {named.block}", *options))
        return " ".join(options)
    return ""


def _more_memory(info: ImageInfo, card: Card, wish: Wish, *, model_ndim: int, limits: Limits) -> str:
    """``--memory`` large enough, where the user allowed less than the machine has."""
    if wish.memory is None:
        return ""
    least = least_memory(info, card, wish, model_ndim=model_ndim, disk=limits.disk)
    if least is None or least > memory_limit():
        return ""
    return f"--memory {math.ceil(least / 1e8) / 10:g}GB"


def _block_pixels(layout: Layout) -> int:
    """The ``--block`` that gives these blocks, or smaller ones."""
    lead = len(layout.grid.axes) - len(layout.tiles.tile)
    sizes = zip(layout.grid.axes[lead:], layout.grid.block[lead:], strict=True)
    return max(1, min(n * a.step for a, n in sizes))


def _changes(card: Card, wish: Wish, model_ndim: int) -> Iterator[tuple[tuple[str, ...], Wish]]:
    """Changes of settings in the order in which they hurt."""
    blocks = [None] if wish.block is not None else []
    fewer = [1] if wish.workers > 1 and (wish.memory is None or wish.processes) else []
    overlaps = [o for o in (0.25, 0.125, 0.0) if o < _fraction(card, wish)]
    tiles = list(_smaller_tiles(card, wish, model_ndim))
    blends = ["crop"] if (wish.parameters.blend or card.blend) != "crop" else []
    harmless: list[tuple[tuple[str, ...], Wish]] = [((), wish)]
    harmless += [((), replace(wish, block=b)) for b in blocks]
    harmless += [
        ((f"--workers {w}",), replace(x, workers=w, processes=x.processes and min(x.processes, w)))
        for w in fewer
        for _, x in harmless
    ]
    harmful: list[tuple[tuple[str, ...], dict[str, object]]] = [((), {})]
    harmful += [((f"--blend {b}",), {"blend": b}) for b in blends]
    harmful += [((f"--overlap {o:g}",), {"overlap": o}) for o in overlaps]
    harmful += [((f"--tile {','.join(map(str, t))}",), {"tile": t}) for t in tiles]
    harmful += [
        ((*a, *b), {**x, **y})
        for (a, x), (b, y) in itertools.combinations(harmful[1:], 2)
        if not x.keys() & y.keys()
    ]
    for (more, update), (options, base) in itertools.product(harmful, harmless):
        parameters = base.parameters.model_copy(update=update)
        changed = replace(base, parameters=parameters)
        if changed != wish:
            yield (*options, *more), changed


def _fraction(card: Card, wish: Wish) -> float:
    asked = card.overlap if wish.parameters.overlap is None else wish.parameters.overlap
    tile = wish.parameters.tile or card.tile
    return 0.25 if asked is None else asked if asked < 1 else asked / min(tile)


def _smaller_tiles(card: Card, wish: Wish, model_ndim: int) -> Iterator[tuple[int, ...]]:
    tile = wish.parameters.tile or card.tile[-model_ndim:]
    for half in (2, 4, 8):
        smaller = tuple(t // half // card.stride * card.stride for t in tile)
        if min(smaller) >= max(8, card.stride):
            yield smaller
