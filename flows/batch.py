"""The method of a batch: every item of a list, one after another; bad input costs one item."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from segmodels.errors import ModelError
from tasks.errors import SegflowError
from tasks.items.item import flat
from tasks.items.outcomes import Outcome, Status, write_outcomes

if TYPE_CHECKING:
    from flows.pipeline import RunResult
    from tasks.imagery.source import Source
    from tasks.items.item import ListedItem, Listing
    from tasks.planning.request import Request

logger = logging.getLogger("segflow")

#: Runs one request; the options are those it was made from.
RunOne = Callable[["Request", dict[str, Any]], "RunResult"]


@dataclass(frozen=True)
class Batch:
    """What a batch runs.

    Attributes:
        listing: The items.
        model: A bundle's folder, or a shipped bundle's name.
        out: Output folder.
        options: Further options of a run, the same for all.
    """

    listing: Listing
    model: str
    out: Path
    options: dict[str, Any]


def make_batch(
    source: str, *, model: str, out: Path, match: str | None = None, limit: int | None = None, **options: Any
) -> Batch:
    """Lists the items of a source.

    Args:
        source: See :func:`tasks.items.listing.list_items`.
        model: A bundle's folder, or a shipped bundle's name.
        out: Output folder.
        match: Only items whose id this pattern fits.
        limit: Only so many, the first.
        options: Further options of a run.

    Raises:
        InputError: There is no item.
        ModelError: The bundle is refused, before anything is run.
    """
    from flows.private import private_listing, revealed_source
    from tasks.items.listing import list_items

    source, match = revealed_source(source, match)
    listing = list_items(source, channels=channels_of(model), match=match)
    if "private" in options:  # a mere list leaves nothing
        listing = private_listing(listing, out=out, asked=options["private"])
    return Batch(replace(listing, items=listing.items[:limit]), model, out, options)


def channels_of(model: str) -> list[str]:
    """Names of the channels that a model takes; a classical method asked for by name takes what an image has.

    Raises:
        ModelError: The bundle is refused.
    """
    from segmodels.bundles.bundle import CARD, load_bundle
    from segmodels.methods.names import CLASSICAL

    if model in CLASSICAL and not (Path(model) / CARD).is_file():
        return ["image"]
    return [c.name for c in load_bundle(model).card.channels]


def run_batch(batch: Batch, run: RunOne) -> tuple[Outcome, ...]:
    """Runs every item; leaves ``batch.json`` after each, and of rasters a STAC collection at the end.

    Raises:
        OutputError: The output cannot be written, which no other item would mend.
    """
    from tasks.catalogue.stac import ITEM, write_collection
    from tasks.errors import OutputError

    outcomes = [Outcome(flat(i.id), "incomplete", i.reason) for i in batch.listing.incomplete]
    for n, item in enumerate(batch.listing.items, 1):
        logger.info("item %d of %d: %s", n, len(batch.listing.items), item.id)
        begin = time.perf_counter()
        try:
            outcome = _run(batch, item, run)
        except OutputError:
            raise
        except (SegflowError, ModelError) as error:
            outcome = Outcome(flat(item.id), "failed", str(error), round(time.perf_counter() - begin, 3))
        except Exception as error:
            logger.exception("item %s", item.id)
            reason = f"unexpected {type(error).__name__}: {error}"
            outcome = Outcome(flat(item.id), "failed", reason, round(time.perf_counter() - begin, 3))
        if outcome.status in ("failed", "partial", "suspect"):
            logger.warning("item %s: %s: %s", item.id, outcome.status, outcome.reason)
        outcomes.append(outcome)
        if not outcome.already_done:  # of thousands that are done, the list is written once
            write_outcomes(batch.out, tuple(outcomes))
    write_outcomes(batch.out, tuple(outcomes))
    if any((batch.out / o.item / ITEM).is_file() for o in outcomes):
        write_collection(batch.out)
    return tuple(outcomes)


def _run(batch: Batch, item: ListedItem, run: RunOne) -> Outcome:
    from flows.pipeline import already_done
    from flows.request import make_request
    from tasks.privacy.hiding import hiding

    options = {
        **batch.options,
        **named(item.source),
        "model": batch.model,
        "out": batch.out,
        "item": flat(item.id),
    }
    with hiding(item.source):
        request = make_request(**options)
        result = already_done(request) or run(request, options)
    reason = "" if result.status == "done" else "; ".join(result.warnings)
    return Outcome(result.item, cast(Status, result.status), reason, result.seconds, result.already_done)


def named(source: Source) -> dict[str, Any]:
    """A source as the parameters of a run name it."""
    texts = [p.uri if p.channel is None else f"{p.channel}={p.uri}" for p in source.parts]
    return {"image": texts[0], "more": texts[1:]}
