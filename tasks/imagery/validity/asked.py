"""What a user says with ``--valid``: which raster, and which of its values mean that a pixel was observed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import InputError, UsageError
from tasks.imagery.scene.find import find_scene, is_scene, product_folder
from tasks.imagery.source import Source
from tasks.imagery.validity.rules import PRESETS, Rule, parse_rule

#: Turns off what a card asks for.
NONE = "none"
_RASTERS = (".tif", ".tiff", ".jp2")
_BESIDE = {
    "scl": re.compile(r"(^|[_.-])scl([_.-]|$)", re.IGNORECASE),
    "qa_pixel": re.compile(r"(^|[_.-])(qa_pixel|pixel_qa)([_.-]|$)", re.IGNORECASE),
    "fmask": re.compile(r"(^|[_.-])fmask", re.IGNORECASE),
}


@dataclass(frozen=True)
class Mask:
    """One raster and a rule over its values.

    Attributes:
        uri: The raster's file or address; None for a band of the image itself.
        band: Its band, by name or number, where it may have several.
        rule: Where pixels were observed.
    """

    uri: str | None
    band: str | None
    rule: Rule


def masks_of(source: Source, valid: Sequence[str], presets: Sequence[str] = ()) -> tuple[Mask, ...]:
    """The masks that a user asks for; where nothing is said, those of ``presets`` whose raster a scene has.

    Raises:
        UsageError: A rule is none.
        InputError: A raster is missing.
    """
    if NONE in valid:
        if len(valid) > 1:
            raise UsageError("--valid none goes with no other rule: leave it out, or the others")
        return ()
    if valid:
        return tuple(_mask(text, source) for text in valid)
    beside = scene_masks(source) if presets else {}
    return tuple(Mask(beside[p], None, parse_rule(p)) for p in presets if p in beside)


def scene_masks(source: Source) -> dict[str, str]:
    """Rasters of a scene that a rule's name reads."""
    if len(source.parts) > 1 or source.remote:
        return {}
    path = source.local
    if path.suffix.lower() == ".json" or (product_folder(source) is not None and is_scene(_folder(source))):
        return dict(find_scene(source).beside)
    return {}


def mask_files(source: Source, valid: Sequence[str]) -> list[str]:
    """Files and addresses that the masks a user asks for are in.

    Raises:
        UsageError: See :func:`masks_of`, as for InputError.
    """
    return [m.uri for m in masks_of(source, valid) if m.uri is not None]


def _folder(source: Source) -> Path:
    folder = product_folder(source)
    assert folder is not None
    return folder


def _mask(text: str, source: Source) -> Mask:
    name = text.partition(":")[0].strip().lower()
    if name in PRESETS:
        return Mask(_beside(name, source), None, parse_rule(text))
    if name == "band":
        band, colon, condition = text.partition(":")[2].partition(":")
        if not colon or not band.strip():
            raise UsageError(f"--valid {text}: say band:NAME:RULE, as band:QA60:=0")
        return Mask(None, band.strip(), parse_rule(condition))
    place, rule = split(text)
    if place is None:
        raise UsageError(f"--valid {text}: say FILE:RULE, band:NAME:RULE, or one of {', '.join(PRESETS)}")
    if not Source.of(place).remote and not Path(place).is_file():
        raise InputError(f"--valid {text}: {place} does not exist; check the path")
    return Mask(place, None, parse_rule(rule))


def split(text: str) -> tuple[str | None, str]:
    """The file of ``FILE:RULE`` and the rule; of anything else no file, and the text.

    A path may hold colons, and so may a rule: what follows the first one that leaves a rule is the rule.

    Example:
        >>> split("a:b.tif:scl:4,5"), split("scl:4,5")
        (('a:b.tif', 'scl:4,5'), (None, 'scl:4,5'))

    Raises:
        UsageError: The text holds a colon, and what follows is no rule.
    """
    first, colon, last = text.partition(":")
    if not colon or first.strip().lower() in (*PRESETS, "band"):
        return None, text
    wrong: UsageError | None = None
    for at in (i for i, c in enumerate(text) if c == ":" and not text[i:].startswith("://")):
        try:
            parse_rule(text[at + 1 :])
        except UsageError as error:
            wrong = error
        else:
            return text[:at], text[at + 1 :]
    raise wrong or UsageError(f"--valid {text}: {last!r} is no rule")


def absolute_rule(text: str) -> str:
    """The same with an absolute path, for processes that run elsewhere.

    Raises:
        UsageError: See :func:`split`.
    """
    place, rule = split(text)
    if place is None:
        return text
    return f"{Source.of(place).absolute()}:{rule}"


def without_files(valid: Sequence[str]) -> list[str]:
    """Rules without the names of their files, whose content is part of the image's digest.

    Raises:
        UsageError: See :func:`split`.
    """
    parts = [split(text) for text in valid]
    return [rule if place is None else f":{rule}" for place, rule in parts]


def _beside(name: str, source: Source) -> str:
    known = scene_masks(source).get(name)
    if known is not None:
        return known
    remedy = f"name it, as --valid FILE:{name}"
    if not source.paths:
        raise InputError(f"--valid {name}: no raster for it is known beside {source}; {remedy}")
    first = source.paths[0]
    folder = first if first.is_dir() else first.parent
    found = sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in _RASTERS and _BESIDE[name].search(p.stem) and p not in source.paths
    )
    # Of several scenes in one folder, the mask that begins as the image does.
    own = [p for p in found if p.name.startswith(source.name)] or found
    if len(own) != 1:
        what = "none" if not own else f"{len(own)} ({', '.join(p.name for p in own[:3])})"
        raise InputError(
            f"--valid {name} needs one raster of that name beside {source} and there is {what}; {remedy}"
        )
    return str(own[0])
