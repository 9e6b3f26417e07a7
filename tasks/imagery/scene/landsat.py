"""Landsat Collection 2 (and 1) as delivered: a folder with one GeoTIFF per band and an MTL file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.errors import InputError
from tasks.imagery.bands import Band, Scaling
from tasks.imagery.scene.product import Layer, Scene
from tasks.imagery.scene.sensors import sensor_band, sensor_of
from tasks.imagery.xml import local, safe_xml

_BAND = re.compile(r"_(?:(SR|ST)_)?(B\d{1,2})(?:_VCID_(\d))?\.tiff?$", re.IGNORECASE)
_QUALITY = re.compile(r"_QA_PIXEL\.tiff?$", re.IGNORECASE)
#: An MTL file holds about 15 kB.
_LARGEST = 4 << 20

Metadata = dict[str, dict[str, str]]
"""Group, then key."""


def metadata_file(folder: Path) -> Path | None:
    """A scene's MTL file, of the kinds that there are the first of these."""
    for ending in ("_MTL.txt", "_MTL.json", "_MTL.xml"):
        found = sorted(p for p in folder.glob(f"*{ending}") if p.is_file())
        if found:
            return found[0]
    return None


def is_landsat(folder: Path) -> bool:
    """Whether a folder is one scene: an MTL file and bands beside it."""
    return metadata_file(folder) is not None and any(_BAND.search(p.name) for p in folder.iterdir())


def landsat_scene(folder: Path) -> Scene:
    """The scene in a folder; also a part of its bands.

    Raises:
        InputError: The MTL file cannot be read, or there are several scenes.
    """
    path = metadata_file(folder)
    assert path is not None
    name = re.sub(r"_MTL\.\w+$", "", path.name)
    others = {re.sub(r"_MTL\.\w+$", "", p.name) for p in folder.glob("*_MTL.*")} - {name}
    if others:
        raise InputError(
            f"{folder} holds {1 + len(others)} scenes ({name}, {min(others)} …): give each its own folder"
        )
    metadata = read_mtl(path)
    layers, beside = [], {}
    for file in sorted(folder.iterdir(), key=_order):
        if not file.name.startswith(name) or not file.is_file():
            continue
        if _QUALITY.search(file.name):
            beside["qa_pixel"] = str(file)
        elif found := _BAND.search(file.name):
            band = sensor_band(sensor_of(name), found[2].upper(), file=str(file))
            layers.append(Layer(_known(band, found, metadata), str(file), fill=0.0))
    return Scene(str(folder), tuple(layers), beside)


def _order(path: Path) -> tuple[int, str]:
    found = _BAND.search(path.name)
    return (int(found[2][1:]) if found else 0, path.name)


def _known(band: Band, found: re.Match[str], metadata: Metadata) -> Band:
    prefix = (found[1] or "").upper()
    names = (*band.aliases, f"{prefix}_{band.name}") if prefix else band.aliases
    return replace(band, aliases=names, scaling=_scaling(prefix, band.name[1:], found[3], metadata))


def _scaling(prefix: str, number: str, gain: str | None, metadata: Metadata) -> Scaling | None:
    if prefix == "ST":
        return _of(
            metadata, "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS", "TEMPERATURE", f"ST_B{number}", units="K"
        )
    if prefix == "SR":
        return _of(
            metadata, "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE", number, units="reflectance"
        )
    key = f"{number}_VCID_{gain}" if gain else number
    for group in ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING"):
        toa = _of(metadata, group, "REFLECTANCE", key, units="reflectance")
        if toa is None:
            continue
        # The numbers of a level 1 product are for a sun overhead.
        sun = _number(metadata.get("IMAGE_ATTRIBUTES", {}).get("SUN_ELEVATION"))
        if sun is None or not 0 < sun <= 90:
            return None
        high = math.sin(math.radians(sun))
        return replace(
            toa,
            scale=toa.scale / high,
            offset=toa.offset / high,
            why=f"{toa.why}, divided by the sine of the sun's elevation {sun:g}°",
        )
    return None


def _of(metadata: Metadata, group: str, what: str, key: str, *, units: str) -> Scaling | None:
    entries = metadata.get(group, {})
    scale, offset = (
        _number(entries.get(f"{what}_MULT_BAND_{key}")),
        _number(entries.get(f"{what}_ADD_BAND_{key}")),
    )
    if scale is None or offset is None:
        return None
    return Scaling(scale, offset, units, f"Landsat's {what}_MULT and {what}_ADD of each band")


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_mtl(path: Path) -> Metadata:
    """Groups of an MTL file, of any of its three kinds.

    Raises:
        InputError: It cannot be read, or is none.
    """
    if path.suffix.lower() == ".xml":
        groups = {
            local(g.tag): {local(e.tag): e.text or "" for e in g} for g in safe_xml(path, limit=_LARGEST)
        }
    else:
        try:
            with path.open("rb") as stream:
                text = stream.read(_LARGEST).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read ({error}): fetch it again") from error
        groups = _from_json(text, path) if path.suffix.lower() == ".json" else _from_text(text)
    if not any(
        "SPACECRAFT_ID" in g or "SUN_ELEVATION" in g or "FILE_NAME_BAND_4" in g for g in groups.values()
    ):
        raise InputError(f"{path} is no metadata of a Landsat scene: fetch it again")
    return groups


def _from_json(text: str, path: Path) -> Metadata:
    try:
        root = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}): fetch it again") from error
    inner: Any = next(iter(root.values()), None) if isinstance(root, dict) else None
    if not isinstance(inner, Mapping):
        return {}
    return {g: {k: str(v) for k, v in e.items()} for g, e in inner.items() if isinstance(e, Mapping)}


def _from_text(text: str) -> Metadata:
    groups: Metadata = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            current = groups.setdefault(value, {})
        elif value and key != "END_GROUP":
            current.setdefault(key, value.strip('"'))
    return groups
