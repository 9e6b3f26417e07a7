"""From what a user names to a scene: a product's folder, its metadata file, a STAC item, or several files."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from segmodels.bundles.card import ChannelCard
from tasks.errors import InputError
from tasks.imagery.bands import Band
from tasks.imagery.scene.choice import contradicts
from tasks.imagery.scene.landsat import is_landsat, landsat_scene
from tasks.imagery.scene.landsat import metadata_file as landsat_metadata
from tasks.imagery.scene.product import Layer, Scene
from tasks.imagery.scene.sensors import band_of_file
from tasks.imagery.scene.sentinel2 import is_sentinel2, sentinel2_scene
from tasks.imagery.scene.stac_item import linked_files, stac_scene
from tasks.imagery.source import Source

_METADATA = re.compile(r"MTD_MSIL(1C|2A)\.xml|.*_MTL\.(txt|json|xml)", re.IGNORECASE)


def is_scene(folder: Path) -> bool:
    """Whether a folder is a product that is known here; see ``tasks.imagery.formats.Format``."""
    return is_sentinel2(folder) or is_landsat(folder)


def is_scene_file(path: Path) -> bool:
    """Whether a file describes a scene: a product's metadata, or a STAC item by its beginning."""
    if _METADATA.fullmatch(path.name):
        return True
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    return b'"Feature"' in head and b"stac_version" in head


def product_folder(source: Source) -> Path | None:
    """The folder of a product, where a source is one; a product may be named by its metadata file."""
    if len(source.parts) > 1 or source.remote:
        return None
    path = source.local
    if path.is_dir():
        return path
    return path.parent if _METADATA.fullmatch(path.name) and is_scene(path.parent) else None


def find_scene(source: Source) -> Scene:
    """The scene that a source is.

    Raises:
        InputError: It is none, or its metadata cannot be read.
    """
    if len(source.parts) > 1:
        return _files(source)
    folder = product_folder(source)
    if folder is None:
        return stac_scene(source.local)
    return sentinel2_scene(folder) if is_sentinel2(folder) else landsat_scene(folder)


def companions(source: Source) -> list[str]:
    """Files and addresses that decide what is read of a source and are not named by it, in a fixed order.

    Raises:
        InputError: A STAC item cannot be read.
    """
    if len(source.parts) > 1:
        folders = sorted({p.parent for p in source.paths})
        found = [landsat_metadata(f) for f in folders if f.is_dir() and is_landsat(f)]
        return [str(p) for p in found if p is not None]
    if source.remote or source.local.is_dir():
        return []
    folder = product_folder(source)
    if folder is not None:
        return [str(folder)]
    return linked_files(source.local) if source.local.suffix.lower() == ".json" else []


def _files(source: Source) -> Scene:
    """Several files: what their names and their product's metadata beside them say."""
    uris = [p.uri for p in source.parts]
    twice = [u for u, n in Counter(uris).items() if n > 1]
    if twice:
        raise InputError(f"{twice[0]} is named twice: name each band's file once")
    known = _products(source)
    layers = []
    for part in source.parts:
        layer = known.get(part.uri) or Layer(band_of_file(part.uri) or _unnamed(part.uri), part.uri)
        if part.channel is not None:
            if contradicts(layer.band, ChannelCard(name=part.channel)):
                raise InputError(
                    f"{part.uri} is given as {part.channel} and is {layer.band} by its name or its product: name it as the "
                    "channel that it is, or rename a file that is called wrongly"
                )
            band = replace(layer.band, name=part.channel, aliases=(layer.band.name, *layer.band.aliases))
            layer = replace(layer, band=band)
        layers.append(layer)
    return Scene(str(source), tuple(layers), {}, named=source.parts[0].channel is not None)


def _unnamed(uri: str) -> Band:
    name = re.split(r"[/\\]", uri.split("?")[0])[-1].rsplit(".", 1)[0]
    return Band(name, file=uri)


def _products(source: Source) -> dict[str, Layer]:
    """Layers of files that lie in their product's folder, by the file as it is named."""
    known: dict[Path, Layer] = {}
    for folder in {p.parent for p in source.paths}:
        if is_landsat(folder):
            known |= {Path(layer.uri).resolve(): layer for layer in landsat_scene(folder).layers}
    return {p.uri: known[at] for p in source.parts if not p.remote and (at := Path(p.uri).resolve()) in known}
