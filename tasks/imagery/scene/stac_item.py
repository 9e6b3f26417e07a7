"""A STAC item on this machine as a scene: its assets' bands, with names, wavelengths and scales it says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from tasks.errors import InputError
from tasks.imagery.bands import Band, Scaling
from tasks.imagery.scene.product import Layer, Scene

_LARGEST = 8 << 20
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")
#: Where an item's assets may lie, besides the folder of the item.
REMOTE = ("https://", "s3://", "gs://")
#: Roles of assets that are pictures or words about the image.
_BESIDE = {"thumbnail", "overview", "metadata", "visual", "saturation", "cloud", "cloud-shadow", "water-mask"}
_RULES = {"scl": "scl", "qa_pixel": "qa_pixel", "qa-pixel": "qa_pixel", "fmask": "fmask"}
_RASTER = (".tif", ".tiff", ".jp2", ".img", ".vrt")


def stac_scene(path: Path) -> Scene:
    """The scene that an item describes.

    Raises:
        InputError: It is no item, has no bands, or an asset lies where nothing may be read.
    """
    item = _read(path)
    layers: list[Layer] = []
    beside: dict[str, str] = {}
    for key, asset in item["assets"].items():
        if not isinstance(asset, Mapping) or not isinstance(asset.get("href"), str):
            continue
        rule = _RULES.get(key.casefold())
        if rule is not None:
            beside[rule] = _place(path, key, asset["href"])
        elif _is_image(asset):
            layers += _layers(path, key, asset)
    if not layers:
        raise InputError(
            f"{path} describes no asset with bands (eo:bands, bands or the role data): name the files"
        )
    return Scene(str(path), tuple(layers), beside)


def linked_files(path: Path) -> list[str]:
    """The files and addresses that an item's bands and masks are in.

    Raises:
        InputError: See :func:`stac_scene`.
    """
    scene = stac_scene(path)
    return sorted({layer.uri for layer in scene.layers} | set(scene.beside.values()))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
        item = json.loads(data) if len(data) <= _LARGEST else None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): fetch it again") from error
    if (
        not isinstance(item, dict)
        or item.get("type") != "Feature"
        or not isinstance(item.get("assets"), dict)
    ):
        raise InputError(f"{path} is no STAC item (a Feature with assets): name an image, or an item's file")
    return item


def _is_image(asset: Mapping[str, Any]) -> bool:
    roles = {str(r).casefold() for r in asset.get("roles") or ()}
    kind = str(asset.get("type") or "")
    named = PurePosixPath(asset["href"].split("?")[0]).suffix.lower() in _RASTER
    image = kind.startswith(("image/tiff", "image/jp2", "image/vnd.stac.geotiff")) or named
    return (
        image
        and not roles & _BESIDE
        and bool(roles & {"data", "reflectance", "temperature"} or _described(asset))
    )


def _described(asset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What it says of its bands: the eo extension's list, or that of STAC 1.1."""
    for name in ("eo:bands", "bands"):
        found = asset.get(name)
        if isinstance(found, list) and found and all(isinstance(b, Mapping) for b in found):
            return found
    return []


def _layers(path: Path, key: str, asset: Mapping[str, Any]) -> list[Layer]:
    place = _place(path, key, asset["href"])
    described = _described(asset) or [{}]
    raster = asset.get("raster:bands")
    scales = raster if isinstance(raster, list) and len(raster) == len(described) else described
    layers = []
    for at, (band, scale) in enumerate(zip(described, scales, strict=True)):
        only = len(described) == 1
        name = str(band.get("name") or (key if only else f"{key}{at + 1}"))
        common = band.get("eo:common_name", band.get("common_name"))
        wave = _number(band.get("eo:center_wavelength", band.get("center_wavelength")))
        aliases = tuple(dict.fromkeys(str(a) for a in (common, key if only else None) if a))
        known = Band(
            name, aliases, None if wave is None else round(wave * 1000, 3), _scaling(scale, asset, key), place
        )
        layers.append(Layer(known, place, None if only else at, fill=_number(scale.get("nodata"))))
    return layers


def _scaling(said: Any, asset: Mapping[str, Any], key: str) -> Scaling | None:
    if not isinstance(said, Mapping):
        return None
    either = {**{k: asset.get(k) for k in ("raster:scale", "raster:offset", "unit")}, **said}
    scale = _number(either.get("scale", either.get("raster:scale")))
    offset = _number(either.get("offset", either.get("raster:offset")))
    if scale is None and offset is None:
        return None
    units = str(either.get("unit") or "").casefold()
    kelvin = units in ("k", "kelvin")
    return Scaling(
        1.0 if scale is None else scale,
        offset or 0.0,
        "K" if kelvin else "reflectance",
        f"scale and offset of the STAC item's asset {key}",
    )


def _place(path: Path, key: str, href: str) -> str:
    if href.startswith(REMOTE):
        return href
    folder = path.parent.resolve()
    inside = (folder / unquote(href)).resolve() if not _ADDRESS.match(href) else None
    if inside is None or not inside.is_relative_to(folder):
        raise InputError(
            f"{path}: the asset {key} lies at {href}, and only files beside the item and addresses of "
            f"{', '.join(REMOTE)} are read: copy it there"
        )
    return str(path.parent / unquote(href))


def _number(value: Any) -> float | None:
    """A finite number."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and abs(value) < 1e300 else None
