"""The method of an evaluation: segment what has no mask yet, score, add up, write."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.calling import Call, directly
from tasks.errors import SegflowError
from tasks.evaluation.classes import parse_classes
from tasks.evaluation.counting import default_threads
from tasks.evaluation.evaluate import Evaluated, finish
from tasks.evaluation.intervals import Bootstrap
from tasks.evaluation.score import ItemScore, Scoring, failed
from tasks.publishing.ownership import owned
from tasks.work import WORK

if TYPE_CHECKING:
    from flows.pipeline import Progress
    from tasks.planning.request import Request

logger = logging.getLogger("segflow")

#: Runs one request; the options are those it was made from.
Run = Callable[["Request", dict[str, Any]], None]


def evaluate_masks(
    masks: Path,
    truth: Path,
    *,
    out: Path,
    classes: str | None = None,
    ignore: list[int] | None = None,
    surfaces: bool | None = None,
    tolerance: float = 2.0,
    resamples: int = 2000,
    threads: int | None = None,
    command: str = "",
) -> Evaluated:
    """Scores a folder of masks (or one) against truth.

    Raises:
        SegflowError: One sentence with the remedy.
    """
    from tasks.evaluation.masks import score_masks

    scoring = Scoring(
        classes=parse_classes(classes) if classes else None,
        ignore=tuple(ignore or ()),
        surfaces=surfaces,
        tolerance=tolerance,
        threads=threads or default_threads(),
    )
    with owned(out / WORK / "evaluation", item="the evaluation"):
        scores, known, notes = score_masks(
            masks, truth, scratch=out / WORK / "scratch", scoring=scoring, progress=_tell
        )
        return finish(
            scores,
            known,
            out=out,
            title=f"{masks.resolve().name} against {truth.resolve().name}",
            of={"masks": str(masks), "truth": str(truth)},
            scoring=scoring,
            bootstrap=Bootstrap(resamples=resamples),
            notes=notes,
            command=command,
        )


def evaluate_bundle(
    *,
    dataset: Path,
    model: str,
    out: Path,
    run: Run,
    split: str | None = None,
    ignore: list[int] | None = None,
    surfaces: bool | None = None,
    tolerance: float = 2.0,
    resamples: int = 2000,
    threads: int | None = None,
    workers: int = 2,
    engine: str = "auto",
    precision: str = "auto",
    variants: str = "none",
    command: str = "",
    call: Call = directly,
) -> Evaluated:
    """Segments a data set's items through the pipeline and scores them; finished items are not run again.

    Raises:
        SegflowError, ModelError: One sentence with the remedy.
    """
    from flows.request import make_request
    from segmodels.bundles.bundle import load_bundle
    from tasks.evaluation.items import chosen, item_names, prepared, score_item
    from tasks.evaluation.matching import check_classes

    bundle = load_bundle(model)
    data, items = chosen(dataset, split)
    notes = check_classes(data, bundle.card)
    names = item_names(items)
    scoring = Scoring(
        classes=bundle.card.classes,
        ignore=tuple(ignore or ()),
        surfaces=surfaces,
        tolerance=tolerance,
        threads=threads or default_threads(),
    )
    runs, scratch = out / "runs", out / WORK / "scratch"
    scores: list[ItemScore] = []
    with owned(out / WORK / "evaluation", item="the evaluation"):
        for done, item in enumerate(items):
            _tell(done, len(items))
            try:
                options: dict[str, Any] = {
                    "image": prepared(
                        data, item, name=names[item.id], folder=out / "inputs", scratch=scratch
                    ),
                    "model": model,
                    "out": runs,
                    "item": names[item.id],
                    "workers": workers,
                    "engine": engine,
                    "precision": precision,
                    "variants": variants,
                    "command": command,
                }
                request = make_request(**options)
                run(request, options)
                score = partial(
                    score_item, data, item, result=request.work().final, scratch=scratch, scoring=scoring
                )
                scores.append(call(f"score {item.id}", score))
            except SegflowError as error:
                if error.exit_code not in (2, 3):
                    raise
                logger.warning("%s: %s", item.id, error)
                scores.append(failed(item.id, error))
        _tell(len(items), len(items))
        write = partial(
            finish,
            scores,
            bundle.card.classes,
            out=out,
            title=f"{bundle.card.name} on {dataset.resolve().name}",
            of={
                "model": f"{bundle.card.name} {bundle.card.version}",
                "bundle_digest": bundle.digest,
                "dataset": str(dataset),
                "split": split,
            },
            scoring=scoring,
            bootstrap=Bootstrap(resamples=resamples),
            notes=notes,
            command=command,
        )
        return call("write", write)


def plain_runs(progress: Progress) -> Run:
    """Runs items as plain functions."""

    def run(request: Request, options: dict[str, Any]) -> None:
        from flows.pipeline import run_item
        from flows.places import opened_place
        from flows.runner import DirectRunner

        with opened_place("threads", workers=request.workers) as place:
            run_item(request, runner=DirectRunner(place), progress=progress)

    return run


def _tell(done: int, total: int) -> None:
    if done < total:
        logger.info("item %d of %d", done + 1, total)
