"""Small, aligned views of an image and its mask, read without ever holding either in full.

A raster gives one panel, a volume up to three: axial, coronal and sagittal planes through
the middle of what was segmented.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError
from tasks.imagery.protocol import GdalFile, Image
from tasks.imagery.views.smaller import from_gdal, smaller
from tasks.imagery.views.tolerant import read_values
from tasks.reports import paint, words

#: A plane of a volume with sides of a smaller ratio is a strip in which nobody sees anything.
THINNEST = 1 / 20
#: Of CT, in HU: level 40, width 400.
SOFT_TISSUE = (-160.0, 240.0)


@dataclass(frozen=True)
class Panel:
    """One view.

    Attributes:
        name: ``image``, ``axial``, ``coronal`` or ``sagittal``.
        caption: Where the view lies, in words.
        base: ``(h, w, 3)`` uint8, the input stretched for display, nodata as a checker board.
        codes: ``(h, w)`` mask codes of the same pixels.
        sides: Letters at the left, right, top and bottom edge (R L A P S I), or empty.
    """

    name: str
    caption: str
    base: paint.Picture
    codes: npt.NDArray[Any]
    sides: tuple[str, str, str, str] | tuple[()] = ()


def display_channels(channels: tuple[str, ...] | list[str]) -> tuple[int, ...]:
    """Channels to show: red, green and blue where they are named, else the first three, else the first."""
    names = [c.strip().lower() for c in channels]
    for wanted in (("red", "green", "blue"), ("r", "g", "b")):
        if all(w in names for w in wanted):
            return tuple(names.index(w) for w in wanted)
    return (0, 1, 2) if len(names) >= 3 else (0,)


def ranges(record: dict[str, Any], shown: tuple[int, ...]) -> list[tuple[float, float]]:
    """Display range per shown channel: 2nd to 98th percentile of the valid pixels.

    Red, green and blue share one range, which keeps their hue; CT has its window of soft tissue.
    """
    out = []
    for i in shown:
        s = record["statistics"][i]
        if words.unit_of(record, i) == "HU" and _holds(s, SOFT_TISSUE):
            out.append(SOFT_TISSUE)
            continue
        pairs = [(s.get("p2"), s.get("p98")), (s.get("minimum"), s.get("maximum")), (0.0, 1.0)]
        low, high = next(p for p in pairs if p == (0.0, 1.0) or (None not in p and p[1] > p[0]))
        out.append((float(low), float(high)))
    bands = record["input"].get("bands") or record["statistics"]
    names = [str(bands[i]["channel"]).strip().lower() for i in shown]
    if names in (["red", "green", "blue"], ["r", "g", "b"]):
        return [(min(r[0] for r in out), max(r[1] for r in out))] * 3
    return out


def _holds(statistics: dict[str, Any], window: tuple[float, float]) -> bool:
    """Whether some values lie within a window; of others it would show nothing."""
    low, high = statistics.get("minimum"), statistics.get("maximum")
    return low is not None and high is not None and low < window[1] and high > window[0]


def panels(image: Image, mask_path: Path, record: dict[str, Any], *, size: int) -> list[Panel]:
    """The views of ``image`` and the mask at ``mask_path``.

    Args:
        image: The open input.
        mask_path: ``mask.tif`` or ``mask.nii.gz`` on the input's grid.
        record: What ``run.json`` will hold.
        size: Longest side of a raster's panel, or of three planes side by side, in pixels.

    Raises:
        tasks.errors.InputError: The image or the mask can no longer be read.
    """
    if image.info.kind == "volume":
        return _planes(image, mask_path, record, size=size)
    return [_raster(image, mask_path, record, size=size)]


def fit(height: float, width: float, size: int) -> tuple[int, int]:
    """Rows and columns of a picture of these proportions whose longest side is ``size``."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _raster(image: Image, mask_path: Path, record: dict[str, Any], *, size: int) -> Panel:
    info = image.info
    a, b, _, d, e, _ = info.grid["transform"]
    pixel_height, pixel_width = math.hypot(b, e) or 1.0, math.hypot(a, d) or 1.0
    height, width = info.shape[-2:]
    shown = display_channels(info.channels)
    # Never more pixels than the file has: small images are enlarged afterwards, unsmoothed.
    rows, columns = (min(n, m) for n, m in zip(fit(height, width, size), (height, width), strict=True))
    values = smaller(image, shown, (rows, columns))
    mask = GdalFile(str(mask_path), "GTiff", (1,))
    codes = from_gdal(mask, (0,), (rows, columns), ((0, height), (0, width)), categories=True)[0]
    layers = [paint.stretch(v, *r) for v, r in zip(values, ranges(record, shown), strict=True)]
    base = np.stack(layers * (3 if len(layers) == 1 else 1), axis=-1)
    full = fit(height * pixel_height, width * pixel_width, size)
    base, codes = paint.enlarge(base, *full), paint.enlarge(codes, *full)
    base = paint.with_nodata(base, codes == words.reserved_codes(record)["nodata"])
    names = ", ".join(info.channels[i] for i in shown)
    what = f"{names} shown as red, green, blue" if len(shown) == 3 else f"channel {names}"
    if names.lower() in ("red, green, blue", "r, g, b"):
        what = "red, green and blue channels"
    return Panel("image", f"{width:,} × {height:,} pixels; {what}", base, codes)


def _planes(image: Image, mask_path: Path, record: dict[str, Any], *, size: int) -> list[Panel]:
    info = image.info
    shape = info.shape[-3:]
    series = len(info.shape) == 4
    spacing = [float(s) or 1.0 for s in info.grid["spacing"][-3:]]
    wanted = [int(c["code"]) for c in record["bundle"]["classes"] if c["region"]]
    centre, codes = mask_planes(mask_path, wanted)
    patient = bool(info.grid.get("patient", True))
    extents = [n * s for n, s in zip(shape, spacing, strict=True)]
    seen = [axis for axis in range(3) if _shows(extents, shape, axis)] or [int(np.argmin(shape))]
    # Two in a row at most are larger than three would be.
    scale = size / max(2, len(seen)) / max(extents)
    (low, high) = ranges(record, (0,))[0]
    nodata = words.reserved_codes(record)["nodata"]
    out = []
    for axis, (name, sides) in enumerate(
        (
            ("axial", ("R", "L", "A", "P")),
            ("coronal", ("R", "L", "S", "I")),
            ("sagittal", ("A", "P", "S", "I")),
        )
    ):
        if axis not in seen:
            continue
        kept = [i for i in range(3) if i != axis]
        window = [slice(0, n) for n in shape]
        window[axis] = slice(centre[axis], centre[axis] + 1)
        values = read_values(image, tuple([slice(0, 1)] * series + window))
        plane = values[0] if series else values
        plane = np.squeeze(plane[..., 0], axis=axis)
        grey, code = paint.stretch(plane, low, high), codes[axis]
        if patient:
            # Rows run from superior or anterior, columns from the patient's right or front.
            grey, code = grey[::-1, ::-1], code[::-1, ::-1]
        full = (
            max(1, round(shape[kept[0]] * spacing[kept[0]] * scale)),
            max(1, round(shape[kept[1]] * spacing[kept[1]] * scale)),
        )
        base = np.repeat(_smooth(grey, full)[..., None], 3, axis=-1)
        code = paint.enlarge(code, *full)
        base = paint.with_nodata(base, code == nodata)
        what = name.capitalize() if patient else "Plane " + " ".join("xyz"[2 - i] for i in reversed(kept))
        caption = f"{what}, slice {centre[axis] + 1} of {shape[axis]}"
        caption += f", frame 0 (of 0 to {info.shape[0] - 1})" if series else ""
        out.append(Panel(name, caption, base, code, sides if patient else ()))
    return out


def _shows(extents: list[float], shape: tuple[int, ...], axis: int) -> bool:
    """Whether the plane across an axis shows anything: not edge-on, nor as a strip."""
    sides = [e for i, e in enumerate(extents) if i != axis]
    edge_on = min(n for i, n in enumerate(shape) if i != axis) == 1 and axis != int(np.argmin(shape))
    strip = min(sides) < THINNEST * max(sides) and axis != int(np.argmin(extents))
    return not (edge_on or strip)


def _smooth(grey: npt.NDArray[np.uint8], shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    from PIL import Image as PILImage

    picture = PILImage.fromarray(np.ascontiguousarray(grey))
    return np.asarray(picture.resize(shape[::-1], PILImage.Resampling.BICUBIC))


def mask_planes(path: Path, wanted: list[int]) -> tuple[list[int], list[npt.NDArray[Any]]]:
    """Three orthogonal planes of a volume's mask through the median of the wanted voxels.

    The file is streamed twice, one native slice at a time, so a compressed volume of any
    size costs the memory of a slice and three planes. Of a series the first frame counts.

    Args:
        path: ``mask.nii.gz``, or a mask that is read as an image.
        wanted: Codes that count as segmented; the volume's centre is taken where none occurs.

    Returns:
        The centre and the planes that drop axis z, y and x, all in the canonical (z, y, x) view.

    Raises:
        tasks.errors.InputError: The mask cannot be read.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    if not path.name.endswith(".nii.gz"):
        return _array_planes(path, wanted)
    try:
        file: Any = nib.load(path, keep_file_open=True)
        native = (*file.shape, 1, 1)[:3]
        frame = (0,) * (len(file.shape) - 3)

        def slabs() -> Iterator[tuple[int, npt.NDArray[Any]]]:
            for k in range(native[2]):
                at = (slice(None), slice(None), k, *frame)[: len(file.shape)]
                yield k, np.asarray(file.dataobj[at]).reshape(native[:2])

        counts = [np.zeros(n, np.int64) for n in native]
        for k, slab in slabs():
            hit = np.isin(slab, wanted)
            counts[0] += hit.sum(axis=1)
            counts[1] += hit.sum(axis=0)
            counts[2][k] = hit.sum()
        centre = [
            int(np.searchsorted(np.cumsum(c), (c.sum() + 1) // 2)) if c.any() else len(c) // 2 for c in counts
        ]
        planes = [np.zeros(tuple(np.delete(native, axis)), np.uint16) for axis in range(3)]
        for k, slab in slabs():
            planes[0][:, k] = slab[centre[0]]
            planes[1][:, k] = slab[:, centre[1]]
            if k == centre[2]:
                planes[2][...] = slab
    except (OSError, EOFError, zlib.error, ImageFileError) as error:
        raise InputError(
            f"{path} could not be read for the report ({error}); check that it is complete"
        ) from error
    turn = nib.orientations.io_orientation(file.affine)
    out_centre, out_planes = [0, 0, 0], [np.zeros((1, 1), np.uint16)] * 3
    for axis in range(3):
        ras, flip = int(turn[axis, 0]), turn[axis, 1] < 0
        view = 2 - ras
        out_centre[view] = native[axis] - 1 - centre[axis] if flip else centre[axis]
        volume = nib.orientations.apply_orientation(np.expand_dims(planes[axis], axis), turn)
        out_planes[view] = np.squeeze(volume.transpose(2, 1, 0), axis=view)
    return out_centre, out_planes


def _array_planes(path: Path, wanted: list[int]) -> tuple[list[int], list[npt.NDArray[Any]]]:
    """As :func:`mask_planes`, of masks that are stored plane by plane or in chunks."""
    import tempfile

    from tasks.imagery.open import open_image

    with tempfile.TemporaryDirectory() as scratch:
        mask = open_image(path, scratch=Path(scratch))
        try:
            series = (slice(0, 1),) * (len(mask.info.shape) - 3)
            shape = mask.info.shape[-3:]
            step = max(1, mask.info.chunk[-3])

            def slabs() -> Iterator[tuple[int, npt.NDArray[Any]]]:
                for z in range(0, shape[0], step):
                    where = (
                        *series,
                        slice(z, min(z + step, shape[0])),
                        slice(0, shape[1]),
                        slice(0, shape[2]),
                    )
                    slab = mask.read(where).values[..., 0]
                    for i, plane in enumerate(slab.reshape(slab.shape[-3:])):
                        yield z + i, plane

            counts = [np.zeros(n, np.int64) for n in shape]
            for z, plane in slabs():
                hit = np.isin(plane, wanted)
                counts[0][z] = hit.sum()
                counts[1] += hit.sum(axis=1)
                counts[2] += hit.sum(axis=0)
            centre = [
                int(np.searchsorted(np.cumsum(c), (c.sum() + 1) // 2)) if c.any() else len(c) // 2
                for c in counts
            ]
            planes = [np.zeros(tuple(np.delete(shape, axis)), np.uint16) for axis in range(3)]
            for z, plane in slabs():
                planes[1][z], planes[2][z] = plane[centre[1]], plane[:, centre[2]]
                if z == centre[0]:
                    planes[0][...] = plane
        finally:
            mask.close()
    return centre, planes
