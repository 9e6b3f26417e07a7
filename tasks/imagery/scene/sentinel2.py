"""Sentinel-2 as unpacked: a SAFE folder with one JPEG 2000 file per band and a metadata file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from tasks.errors import InputError
from tasks.imagery.bands import Scaling
from tasks.imagery.scene.product import Layer, Scene
from tasks.imagery.scene.sensors import sensor_band
from tasks.imagery.xml import local, safe_xml

#: Bands as the product's metadata counts them.
_ORDER = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
_FILE = re.compile(r"_(B\d[\dA]|SCL)(?:_(\d\d)m)?\.(?:jp2|tiff?)$", re.IGNORECASE)
#: From this processing baseline on, reflectances are stored with an offset.
_OFFSET_SINCE = 4.0


def metadata_file(folder: Path) -> Path | None:
    """A product's metadata file."""
    return next((p for level in ("2A", "1C") if (p := folder / f"MTD_MSIL{level}.xml").is_file()), None)


def is_sentinel2(folder: Path) -> bool:
    """Whether a folder is an unpacked product."""
    return metadata_file(folder) is not None and (folder / "GRANULE").is_dir()


def sentinel2_scene(folder: Path) -> Scene:
    """The scene in a product's folder; of a band at several resolutions the finest.

    Raises:
        InputError: The metadata cannot be read, or there is not one granule.
    """
    path = metadata_file(folder)
    assert path is not None
    granules = sorted(p for p in (folder / "GRANULE").iterdir() if p.is_dir() and (p / "IMG_DATA").is_dir())
    if len(granules) != 1:
        raise InputError(
            f"{folder} holds {len(granules)} granules and one scene is needed: give a product of one tile"
        )
    finest: dict[str, tuple[int, Path]] = {}
    for file in sorted((granules[0] / "IMG_DATA").rglob("*")):
        found = _FILE.search(file.name)
        if found is None or not file.is_file():
            continue
        name, metres = found[1].upper(), int(found[2] or 0)
        if name not in finest or metres < finest[name][0]:
            finest[name] = (metres, file)
    scalings, notes = _scalings(safe_xml(path), path)
    layers = []
    for name in _ORDER:
        if name in finest:
            uri = str(finest[name][1])
            band = sensor_band("sentinel-2", name, file=uri)
            layers.append(Layer(replace(band, scaling=scalings.get(name)), uri, fill=0.0))
    if not layers:
        raise InputError(
            f"{folder} holds no band files (…_B04….jp2) under GRANULE/*/IMG_DATA: unpack it again"
        )
    beside = {"scl": str(finest["SCL"][1])} if "SCL" in finest else {}
    return Scene(str(folder), tuple(layers), beside, notes)


def _scalings(root: Element, path: Path) -> tuple[dict[str, Scaling], tuple[str, ...]]:
    """Per band, and what to tell; none where the metadata does not say enough."""
    surface = path.name == "MTD_MSIL2A.xml"
    elements = {local(e.tag): e for e in root.iter()}
    divisor_tag = "BOA_QUANTIFICATION_VALUE" if surface else "QUANTIFICATION_VALUE"
    offset_tag = "BOA_ADD_OFFSET" if surface else "RADIO_ADD_OFFSET"
    divisor = _number(elements.get(divisor_tag))
    if not divisor or divisor < 0:
        return {}, (f"{path.name} names no {divisor_tag}: values are taken as stored.",)
    offsets = {
        _ORDER[int(at)]: _number(e)
        for e in root.iter()
        if local(e.tag) == offset_tag and (at := e.get("band_id", "")).isdecimal() and int(at) < len(_ORDER)
    }
    baseline = _number(elements.get("PROCESSING_BASELINE"))
    if baseline is not None and baseline >= _OFFSET_SINCE and not offsets:
        return {}, (
            f"{path.name} is of processing baseline {baseline:05.2f} and names no {offset_tag}, without which "
            "numbers are no reflectances: values are taken as stored; fetch the product again.",
        )
    scalings = {}
    for name in _ORDER:
        offset = offsets.get(name, 0.0)
        if offset is not None:
            shifted = f" {offset:+g}" if offset else ""
            why = f"Sentinel-2's (number{shifted}) / {divisor:g}"
            scalings[name] = Scaling(1 / divisor, offset / divisor, "reflectance", why)
    return scalings, ()


def _number(element: Element | None) -> float | None:
    try:
        return None if element is None else float((element.text or "").strip())
    except ValueError:
        return None
