"""A copy of a bundle that differs in its card alone."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from segmodels.bundles.bundle import CARD, Bundle, load_bundle
from segmodels.bundles.card import Card
from segmodels.bundles.postprocess import FillHoles, LargestComponents, MinimumSize, PostStep
from segmodels.errors import BundleError

_SIZE = re.compile(r"(?P<size>\d+(\.\d+)?)(?P<unit>m2|mm3|pixels|)")


def copy_with_postprocess(model: str | Path, directory: str | Path, *, steps: Sequence[PostStep]) -> Bundle:
    """Copies a bundle and gives its card other post-processing.

    Args:
        model: A bundle's folder, or the name of a shipped one.
        directory: The copy's folder, which must not exist.
        steps: In place of the card's own; none takes them away.

    Raises:
        BundleError: The folder exists, or a step does not fit the classes.
    """
    bundle, target = load_bundle(model), Path(directory).absolute()
    if target.exists():
        raise BundleError(f"{target} already exists; choose another folder.")
    try:
        card = Card.model_validate(
            {**bundle.card.model_dump(), "postprocess": [s.model_dump() for s in steps]}
        )
    except ValidationError as error:
        raise BundleError(f"The steps do not fit {bundle.card.name}: {error.errors()[0]['msg']}.") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        folder.chmod(0o755)
        copy_contents(bundle, folder)
        (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        load_bundle(folder)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return load_bundle(target)


def copy_contents(bundle: Bundle, folder: Path) -> None:
    """Copies a bundle's files, and those of the bundles that it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CARD, *bundle.card.digests):
        shutil.copyfile(bundle.path / name, folder / name)
    for part in _parts(bundle):
        copy_contents(part, folder / part.path.relative_to(bundle.path))


def _parts(bundle: Bundle) -> Sequence[Bundle]:
    # Both write bundles of bundles by copying them.
    if bundle.kind == "ensemble":
        from segmodels.bundles.ensemble import read_members

        return read_members(bundle)
    if bundle.kind == "two-stage":
        from segmodels.bundles.stages import read_stages

        stages = read_stages(bundle)
        return stages.coarse, stages.fine
    return ()


def parse_steps(
    *, largest: Sequence[str], minimum_size: Sequence[str], fill_holes: Sequence[str]
) -> list[PostStep]:
    """Steps as one writes them: ``brain``, ``brain=2``, ``water=2000m2``.

    Raises:
        BundleError: A size that is none.
    """
    steps: list[PostStep] = []
    for text in largest:
        name, _, count = text.partition("=")
        if count and not (count.isdigit() and int(count)):
            raise BundleError(f"{text!r} does not say how many components to keep; write {name}=2.")
        steps.append(LargestComponents(class_name=name, keep=int(count or 1)))
    for text in minimum_size:
        name, size, unit = _sized(text)
        if size is None:
            raise BundleError(f"{text!r} gives no size; write {name}=25, {name}=2000m2 or {name}=10mm3.")
        steps.append(MinimumSize(class_name=name, size=size, unit=unit))
    for text in fill_holes:
        name, size, unit = _sized(text)
        steps.append(FillHoles(class_name=name, size=size, unit=unit))
    return steps


def _sized(text: str) -> tuple[str, float | None, str]:
    name, equals, size = text.partition("=")
    if not equals:
        return name, None, "pixels"
    found = _SIZE.fullmatch(size.strip())
    if found is None or not float(found["size"]):
        raise BundleError(f"{text!r} gives no size; write {name}=25, {name}=2000m2 or {name}=10mm3.")
    return name, float(found["size"]), found["unit"] or "pixels"
