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


def mask_files(source: Source, valid: Sequence[str]) -> list[Path]:
    """Files on this machine that the masks a user asks for are in.

    Raises:
        UsageError: See :func:`masks_of`, as for InputError.
    """
    found = [m.uri for m in masks_of(source, valid) if m.uri is not None]
    return [p for uri in found for p in Source.of(uri).paths]


def _folder(source: Source) -> Path:
    folder = product_folder(source)
    assert folder is not None
    return folder


def _mask(text: str, source: Source) -> Mask:
    name = text.partition(":")[0].strip().lower()
    if name in PRESETS:
        return Mask(_beside(name, source), None, parse_rule(text))
    if name == "band":
        band, colon, rule = text.partition(":")[2].partition(":")
        if not colon or not band.strip():
            raise UsageError(f"--valid {text}: say band:NAME:RULE, as band:QA60:=0")
        return Mask(None, band.strip(), parse_rule(rule))
    # A path may hold colons, and so may a rule: the first part that exists is the file.
    places = [i for i, c in enumerate(text) if c == ":"]
    cut = next((i for i in places if Path(text[:i]).is_file()), None)
    if cut is None and "://" in text:
        cut = next((i for i in places if not text[i:].startswith("://") and i > text.index("://")), None)
    if cut is None:
        if not places:
            raise UsageError(f"--valid {text}: say FILE:RULE, band:NAME:RULE, or one of {', '.join(PRESETS)}")
        raise InputError(f"--valid {text}: {text[: places[-1]]} does not exist; check the path")
    return Mask(text[:cut], None, parse_rule(text[cut + 1 :]))


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
