"""Two-stage bundles: a coarse model finds the region of interest, a fine one segments it.

``stages.json`` names the folder of each stage below ``stages/`` and its bundle digest; the file itself is listed in
the card, so that one digest vouches for everything. What the region is stands in the card (``roi``); all else in the
card is the fine stage's.
"""

from __future__ import annotations

import difflib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from segmodels.bundles.bundle import CARD, GOLDEN, STAGES, Bundle, file_digest, load_bundle
from segmodels.bundles.card import Card, Training
from segmodels.bundles.copying import copy_contents
from segmodels.bundles.inner import Inner, inner_folder, load_inner, read_listing
from segmodels.bundles.roi import RegionOfInterest
from segmodels.bundles.write import place
from segmodels.errors import BundleError


class StageFile(BaseModel):
    """What ``stages.json`` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    coarse: Inner
    fine: Inner


@dataclass(frozen=True)
class Stages:
    """The two bundles of a two-stage bundle, and where the second looks."""

    coarse: Bundle
    fine: Bundle
    roi: RegionOfInterest


def read_stages(bundle: Bundle) -> Stages:
    """Loads and checks both stages.

    Raises:
        BundleError: One is missing, altered, elsewhere, of two stages itself, or does not fit the card.
    """
    listed = read_listing(bundle.path / STAGES, StageFile)
    if bundle.card.roi is None:
        raise BundleError(
            f"{bundle.path / CARD} does not say what the region is (roi); write the bundle again."
        )
    coarse, fine = (_load(bundle, stage) for stage in (listed.coarse, listed.fine))
    check_stages(coarse.card, fine.card, bundle.card.roi)
    for what in ("ndims", "classes", "activation", "channels", "normalise", "stride", "fixed_tile"):
        if getattr(bundle.card, what) != getattr(fine.card, what):
            raise BundleError(
                f"{bundle.path / CARD} has other {what} than its fine stage {fine.card.name}; correct it, or write "
                "the bundle again."
            )
    return Stages(coarse, fine, bundle.card.roi)


def _load(bundle: Bundle, stage: Inner) -> Bundle:
    folder = inner_folder(bundle, stage)
    if (folder / STAGES).exists():
        raise BundleError(f"{folder} has two stages itself; a stage is one model, or an ensemble.")
    return load_inner(folder, stage, listed_in=STAGES, role="stage")


def stages_of(bundle: Bundle) -> Stages | None:
    """The stages of a bundle, None if it has but one."""
    return read_stages(bundle) if bundle.kind == "two-stage" else None


def answering(bundle: Bundle) -> Bundle:
    """The bundle whose model gives the logits: the fine stage of two, else the bundle itself."""
    stages = stages_of(bundle)
    return bundle if stages is None else stages.fine


def check_stages(coarse: Card, fine: Card, roi: RegionOfInterest) -> None:
    """Refuses stages that cannot look at the same image, and regions that the coarse stage cannot find.

    Raises:
        BundleError: Names what does not fit.
    """
    names, wanted = [c.name for c in coarse.channels], [c.name for c in fine.channels]
    if len(names) != len(wanted):
        raise BundleError(
            f"The coarse stage {coarse.name} takes {_channels(names)} and the fine stage {fine.name} "
            f"{_channels(wanted)}; both stages see the same image, so give models of the same channels."
        )
    if names != wanted and sorted(names) == sorted(wanted):
        raise BundleError(
            f"The coarse stage {coarse.name} takes the channels in another order ({', '.join(names)}) than the fine "
            f"stage {fine.name} ({', '.join(wanted)}); give models of one order."
        )
    if not set(coarse.ndims) & set(fine.ndims):
        raise BundleError(
            f"The coarse stage {coarse.name} is {_dims(coarse)} and the fine stage {fine.name} {_dims(fine)}; give "
            "models of the same number of axes."
        )
    known = [c.name for c in coarse.classes]
    for name in roi.classes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean {near[0]!r}? " if near else ""
            raise BundleError(
                f"The coarse stage {coarse.name} has no class {name!r} to make the region of: {guess}it has "
                f"{', '.join(known)}."
            )
    for what, sizes in (("margin", roi.margin), ("coarsen", roi.coarsen)):
        if len(sizes) != len(fine.tile):
            raise BundleError(
                f"The region's {what} has {len(sizes)} numbers and {fine.name} has {len(fine.tile)} axes; give one "
                "number, or one per axis."
            )


def write_two_stage(
    directory: str | Path,
    coarse: str | Path,
    fine: str | Path,
    *,
    roi_classes: Sequence[str] | None = None,
    margin: Sequence[int] | None = None,
    coarsen: Sequence[int] | None = None,
    name: str | None = None,
    description: str = "",
    overwrite: bool = False,
) -> Bundle:
    """Copies two bundles into one of their own and writes its card.

    Args:
        directory: The bundle's folder.
        coarse: Finds the region.
        fine: Segments it; card and golden input are this bundle's.
        roi_classes: Classes of the coarse stage that make the region; by default all but the first.
        margin: Pixels added to the region on every side, one number or one per axis of the fine stage's tile,
            slowest first; by default a quarter of that tile.
        coarsen: Pixels whose mean the coarse stage sees as one, one number or one per axis; by default 1.
        name: By default the folder's.
        description: Free text.
        overwrite: Whether an existing bundle is replaced.

    Raises:
        BundleError: The stages do not fit each other, or the folder exists.
    """
    target = Path(directory).absolute()
    if target.exists() and not (overwrite and (target / CARD).is_file()):
        raise BundleError(
            f"{target} already exists; choose another folder, or overwrite a bundle on purpose."
        )
    first, second = load_bundle(coarse), load_bundle(fine)
    for one in (first, second):
        if one.kind == "two-stage":
            raise BundleError(
                f"{one.path} has two stages itself; give one model, or an ensemble, as a stage."
            )
    tile = second.card.tile
    try:
        roi = RegionOfInterest(
            classes=tuple(roi_classes or (c.name for c in first.card.classes[1:])),
            margin=_each(margin, tile) or tuple(t // 4 for t in tile),
            coarsen=_each(coarsen, tile) or (1,) * len(tile),
        )
    except ValidationError as error:
        found = error.errors()[0]
        raise BundleError(f"The region's {found['loc'][0]} cannot be: {found['msg']}; correct it.") from error
    check_stages(first.card, second.card, roi)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        folder.chmod(0o755)
        listed = {}
        for stage, one in (("coarse", first), ("fine", second)):
            copy_contents(one, folder / "stages" / stage)
            listed[stage] = Inner(path=f"stages/{stage}", digest=one.digest)
        (folder / STAGES).write_text(StageFile(**listed).model_dump_json(indent=2) + "\n", encoding="utf-8")
        shutil.copyfile(second.path / GOLDEN, folder / GOLDEN)
        digests = {n: file_digest(folder / n) for n in (STAGES, GOLDEN)}
        card = _card(first, second, roi, name or target.name.lower(), description)
        card = card.model_copy(update={"digests": digests})
        (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        load_bundle(folder)
        place(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return load_bundle(target)


def _each(sizes: Sequence[int] | None, tile: tuple[int, ...]) -> tuple[int, ...] | None:
    """One number for every axis; several as they are, to be checked against the tile."""
    if sizes is None:
        return None
    return tuple(sizes) * len(tile) if len(sizes) == 1 else tuple(sizes)


def _card(coarse: Bundle, fine: Bundle, roi: RegionOfInterest, name: str, description: str) -> Card:
    licences = dict.fromkeys(b.card.licence for b in (coarse, fine) if b.card.licence)
    changes = {
        "name": name,
        "version": "1",
        "description": description
        or f"{coarse.card.name} finds {' and '.join(roi.classes)}, {fine.card.name} segments there.",
        "roi": roi.model_dump(),
        "licence": "; ".join(licences),
        "training": Training(
            notes=f"Stages: {coarse.card.name} {coarse.digest}, {fine.card.name} {fine.digest}"
        ),
        "to_check": tuple(dict.fromkeys((*coarse.card.to_check, *fine.card.to_check))),
        "scores": {},
        "derived": None,
        "digests": {},
    }
    return Card.model_validate({**fine.card.model_dump(), **changes})


def _channels(names: list[str]) -> str:
    return f"{len(names)} channel{'s' * (len(names) != 1)} ({', '.join(names)})"


def _dims(card: Card) -> str:
    return " and ".join(f"{n}-D" for n in card.ndims)
