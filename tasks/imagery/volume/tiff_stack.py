"""OME-TIFF, ImageJ hyperstacks and plain TIFF stacks through tifffile, segment by segment."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

from tasks.errors import InputError
from tasks.imagery.raster.tiff_header import is_tiff
from tasks.imagery.source import Source
from tasks.imagery.volume.arrays import AXES, ArrayImage, Named, unit_mm
from tasks.imagery.wanted import Wanted

#: Tags that place a TIFF on the earth.
_GEO = (33550, 33922, 34264, 34735)
_WORLD = (".tfw", ".tifw", ".tiffw", ".wld")
_DESCRIPTION, _MAX_DESCRIPTION = 270, 64
_FILES = re.compile(r'<UUID\b[^>]*\bFileName="([^"]*)"')


def is_stack(path: Path) -> bool:
    """Whether a TIFF is a stack of pages of one shape that lies nowhere on the earth.

    Overviews and masks of a GeoTIFF are pages too, of another shape or marked as such.
    """
    try:
        several, imagej = _pages(path)
    except (OSError, struct.error, ValueError):
        return False
    if imagej:
        return True
    if not several or any(path.with_suffix(s).is_file() for s in _WORLD):
        return False
    import tifffile

    try:
        with tifffile.TiffFile(path, _multifile=False) as tif:
            first: Any = tif.pages.first
            second: Any = tif.pages[1]
            if tif.is_ome:
                return True
            if any(tag in first.tags for tag in _GEO):
                return False
            same = (first.shape, first.dtype) == (second.shape, second.dtype)
            return bool(same and not second.is_reduced and not second.is_mask)
    except Exception:  # damaged: whoever reads GeoTIFF says in which way
        return False


def _pages(path: Path) -> tuple[bool, bool]:
    """Whether a TIFF has a second page, and whether ImageJ wrote it; from its first directory alone."""
    with path.open("rb") as f:
        head = f.read(16)
        if not is_tiff(head[:4]):
            return False, False
        order = "<" if head[:2] == b"II" else ">"
        big = struct.unpack(order + "H", head[2:4])[0] == 43
        count, step, word = ("Q", 20, "Q") if big else ("H", 12, "I")
        (start,) = struct.unpack_from(order + word, head, 8 if big else 4)
        f.seek(start)
        (n,) = struct.unpack(order + count, f.read(struct.calcsize(count)))
        if n > 65535:
            return False, False
        table = f.read(n * step)
        (following,) = struct.unpack(order + word, f.read(struct.calcsize(word)))
        imagej = False
        for i in range(n):
            tag, _, length, at = struct.unpack_from(order + ("HHQQ" if big else "HHII"), table, i * step)
            if tag == _DESCRIPTION and length > 8:
                f.seek(at)
                imagej = f.read(_MAX_DESCRIPTION).startswith(b"ImageJ=")
        return bool(following), imagej


def open_tiff_stack(source: Source, *, scratch: Path, wanted: Wanted) -> ArrayImage:
    """Opens the first series of a stack, or the one whose number ``--layer`` gives.

    Raises:
        InputError: It cannot be used as an image; the sentence says why.
    """
    import tifffile
    import zarr

    path = source.local
    try:
        tif = tifffile.TiffFile(path, _multifile=False)
    except Exception as e:  # tifffile meets damage with errors of many kinds
        raise InputError(f"{path} cannot be opened as a TIFF ({_brief(e)}); export it again.") from e
    store: Any = None

    def close() -> None:
        if store is not None:
            store.close()
        tif.close()

    try:
        _check_description(tif, path)
        series = _series(tif, path, wanted.reading.layer)
        _check_coding(series, path)
        store = series.aszarr(level=0)
        array = zarr.open_array(store, mode="r")
        named = _named(tif, series, array, path, int(wanted.reading.layer or 0))
        return ArrayImage(named, source=source, format="tiff-stack", reading=wanted.reading, close=close)
    except InputError:
        close()
        raise
    except Exception as e:  # as above
        close()
        raise InputError(f"{path} is a damaged TIFF ({_brief(e)}); export it again.") from e


def _brief(e: Exception) -> str:
    return " ".join(str(e).split())[:160] or type(e).__name__


def _check_description(tif: Any, path: Path) -> None:
    """Refuses XML that defines entities, and sets whose pages lie in other files."""
    text = str(tif.pages.first.description or "") if tif.is_ome else ""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path} has OME metadata that define entities; export it again with Bio-Formats.")
    files = sorted(set(_FILES.findall(text)))
    if len(files) > 1:
        raise InputError(
            f"{path} is one of {len(files)} files of a set; convert the set to one OME-TIFF or OME-Zarr with "
            "Bio-Formats."
        )


def _series(tif: Any, path: Path, layer: str | None) -> Any:
    count = len(tif.series)
    if layer is not None and not (layer.isdecimal() and int(layer) < count):
        raise InputError(
            f"{path} has no layer {layer}; give --layer 0 to {count - 1}, the number of a series."
        )
    return tif.series[int(layer or 0)]


def _check_coding(series: Any, path: Path) -> None:
    import tifffile

    page = series.keyframe
    if any(p is None for p in series.pages):
        raise InputError(f"{path} lacks pages that its metadata name; export it again as one file.")
    for table, code in (
        (tifffile.TIFF.DECOMPRESSORS, page.compression),
        (tifffile.TIFF.UNPREDICTORS, page.predictor),
    ):
        try:
            table[code]
        except Exception as e:  # what is missing is said in many ways
            raise InputError(
                f"{path} is compressed with {getattr(code, 'name', code)}, which cannot be read here; "
                "write the file uncompressed or with DEFLATE."
            ) from e


def _named(tif: Any, series: Any, array: Any, path: Path, number: int) -> Named:
    # Samples of a pixel are channels; pages that no metadata explain are slices.
    letters = str(series.get_axes(squeeze=False) if hasattr(series, "get_axes") else series.axes)
    letters = letters if len(letters) == array.ndim else str(series.axes)
    if "S" in letters and "C" in letters:
        size = array.shape[letters.index("C")]
        if size != 1:
            raise InputError(f"{path} has colours in each of {size} channels; split them into channels.")
    axes = letters.replace("S", "c" if "C" not in letters else "s").lower()
    for other in "iqr":
        if "z" not in axes:
            axes = axes.replace(other, "z", 1)
    if len(axes) != array.ndim or len(set(axes)) < len(axes) or not {"y", "x"} <= set(axes) <= set(AXES):
        raise InputError(
            f"{path} has the axes {letters} and only T, C, Z, Y, X are known here; export it again with these."
        )
    steps, unit, channels = _metadata(tif, number)
    scale = tuple(steps.get(a, 1.0) for a in axes)
    return Named(array, axes, scale, (0.0,) * array.ndim, unit, channels)


def _metadata(tif: Any, number: int) -> tuple[dict[str, float], str | None, tuple[str, ...]]:
    """Steps per axis, their unit and the channels' names."""
    if tif.is_ome:
        return _ome(tif, number)
    about = dict(tif.imagej_metadata or {})
    unit = str(about.get("unit", "")).replace("\\u00B5", "µ") or None
    tags = tif.pages.first.tags
    steps = {}
    for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
        value = tags[tag].value if tag in tags else (0, 0)
        if value[0] and value[1]:
            steps[axis] = value[1] / value[0]
    if not tif.is_imagej or len(steps) < 2 or not unit:
        return {}, None, ()
    return {**steps, "z": float(about.get("spacing", 1.0))}, unit, ()


def _ome(tif: Any, number: int) -> tuple[dict[str, float], str | None, tuple[str, ...]]:
    import tifffile

    root: Any = tifffile.xml2dict(tif.ome_metadata).get("OME", {})
    images = root.get("Image", [])
    images = images if isinstance(images, list) else [images]
    index = min(number, len(images) - 1)
    if not images:
        return {}, None, ()
    pixels = images[index].get("Pixels", {})
    channels = pixels.get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    steps = {}
    for axis in "xyz":
        size = f"PhysicalSize{axis.upper()}"
        unit = unit_mm(str(pixels.get(f"{size}Unit", "µm")))
        if size in pixels and unit is not None:
            # The unit of most files stays as it is, to the last bit.
            steps[axis] = float(pixels[size]) * (unit / 1e-3)
    names = tuple(str(c.get("Name") or "") for c in channels if isinstance(c, dict))
    if not {"x", "y"} <= set(steps):
        return {}, None, names
    return steps, "µm", names
