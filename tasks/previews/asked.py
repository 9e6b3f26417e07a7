"""The part that a user asks for, by name: checked, digested, and told apart from the whole and from other parts."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tasks.errors import UsageError
from tasks.previews.window import parse_window
from tasks.publishing.digests import input_digest

#: Of a shapefile's parts, those that say where it lies.
_SHAPEFILE = (".shp", ".shx", ".prj")
_LONGEST = 60


def aoi_digest(path: Path) -> str:
    """Digest of an area's content, wherever its file lies.

    Raises:
        UsageError: It is not there.
        InputError: It cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"--aoi {path} is not there: check the path")
    parts = [path.with_suffix(s) for s in _SHAPEFILE] if path.suffix.lower() == ".shp" else [path]
    digests = [input_digest(p) for p in parts if p == path or p.is_file()]
    return digests[0] if len(digests) == 1 else f"sha256:{hashlib.sha256(repr(digests).encode()).hexdigest()}"


def area_parameters(*, window: str | None, aoi: Path | None) -> dict[str, str | None]:
    """The parameters that name an area.

    Raises:
        UsageError: Both a window and an area, a window that is none, or a file that cannot be read.
    """
    if window is not None and aoi is not None:
        raise UsageError("--window and --aoi are two areas: give one of them")
    if window is not None:
        window = "".join(window.split())
        parse_window(window)
    return {"window": window, "aoi": None if aoi is None else aoi_digest(aoi)}


def preview_suffix(*, window: str | None, aoi: str | None) -> str:
    """What distinguishes a preview's item from the whole image's, and from another preview's."""
    if aoi is not None:
        return f".aoi-{aoi.removeprefix('sha256:')[:10]}"
    if window is None:
        return ""
    name = re.sub(r"[^0-9A-Za-z.+-]", "_", window.replace(":", "-"))
    if len(name) > _LONGEST:
        name = hashlib.sha256(window.encode()).hexdigest()[:10]
    return f".window-{name}"
