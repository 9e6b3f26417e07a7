"""Items of a STAC ItemCollection (a file, as a search leaves it)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.errors import InputError
from tasks.imagery.formats import format_of
from tasks.imagery.source import Part, Source
from tasks.items.item import Incomplete, ListedItem, Listing, ordered

#: A collection's file is text; more than this is none.
_MOST_BYTES = 1 << 30
_SCHEMES = ("s3://", "gs://", "https://")


def looks_like_stac(path: Path) -> bool:
    """Whether a file is a STAC ItemCollection, by its beginning."""
    if path.suffix.lower() not in (".json", ".geojson") or not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    return b'"FeatureCollection"' in head and b"stac_version" in head


def list_stac(path: Path, channels: Sequence[str]) -> Listing:
    """Items whose assets hold every channel.

    An item with one image asset is that image. Of an item with several, the assets that are, or hold
    one band that is, a channel of the model are taken, each by its key, name or common name.

    Args:
        path: The collection. Files that it names must lie in its folder; addresses may be of any place.
        channels: Names of the model's channels.

    Raises:
        InputError: It is no collection, or names a file outside its folder.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes, too many for a collection: split it")
    try:
        features = json.loads(path.read_bytes())["features"]
        assets = {str(f["id"]): dict(f["assets"]) for f in features}
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path} is no STAC ItemCollection ({error}): export the search again") from error
    if len(assets) < len(features):
        raise InputError(f"{path} holds two items of one id: merge or rename them")
    items, incomplete = [], []
    for name, held in assets.items():
        images = {k: a for k, a in held.items() if isinstance(a, dict) and _is_image(a)}
        if len(images) == 1:
            (only,) = images.values()
            items.append(ListedItem(name, Source.of(_href(only, path))))
            continue
        chosen = {c: _asset_of(c, images) for c in channels}
        missing = [c for c, a in chosen.items() if a is None]
        if missing:
            words = f"no asset is {' or '.join(missing)}; its images are {', '.join(images) or 'none'}"
            incomplete.append(Incomplete(name, words))
            continue
        parts = tuple(Part(uri=_href(a, path), channel=c) for c, a in chosen.items() if a is not None)
        items.append(ListedItem(name, Source.of(parts[0].uri) if len(parts) == 1 else Source(parts=parts)))
    return ordered("STAC", items, incomplete)


def _is_image(asset: dict[str, Any]) -> bool:
    roles = asset.get("roles") or []
    if {"thumbnail", "overview", "metadata"} & set(roles):
        return False
    try:
        format_of(Source.of(str(asset.get("href") or "-")))
    except InputError:
        return False
    return True


def _asset_of(channel: str, assets: dict[str, Any]) -> dict[str, Any] | None:
    wanted = channel.casefold()
    for key, asset in assets.items():
        bands = [b for field in ("bands", "eo:bands") for b in asset.get(field) or []]
        names = {key.casefold()}
        if len(bands) <= 1:
            for band in bands:
                fields = (band.get("name"), band.get("common_name"), band.get("eo:common_name"))
                names |= {str(v).casefold() for v in fields if v}
        if wanted in names:
            found: dict[str, Any] = asset
            return found
    return None


def _href(asset: dict[str, Any], named_in: Path) -> str:
    href = str(asset["href"])
    if href.startswith(_SCHEMES):
        return href
    root = named_in.resolve().parent
    target = (root / href).resolve()
    if "://" in href or not target.is_relative_to(root):
        raise InputError(
            f"{named_in} names {href}, outside its own folder: copy it there, or give the image itself"
        )
    return str(target)
