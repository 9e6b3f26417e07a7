"""One door for every image: refuse early, with a reason."""

from __future__ import annotations

import math
from pathlib import Path

from tasks.errors import InputError
from tasks.imagery.formats import format_named, format_of, named
from tasks.imagery.protocol import Image, ImageInfo
from tasks.imagery.seen import as_seen
from tasks.imagery.source import Named, Source
from tasks.imagery.wanted import Wanted


def open_image(source: Named, *, scratch: Path, wanted: Wanted | None = None) -> Image:
    """Opens an image of any format of :data:`tasks.imagery.formats.FORMATS`.

    Args:
        source: A file, a folder, an address, or several of them, one per channel.
        scratch: Folder for temporary data (the inflated form of a ``.nii.gz``).
        wanted: What the model and its user want of it.

    Raises:
        InputError: It is missing, damaged, or no image that can be segmented.
        tasks.errors.OutputError: ``scratch`` cannot take the inflated data.
    """
    source = Source.of(source)
    if source.private:
        from tasks.imagery.views.private import open_private

        return open_private(source, scratch=scratch, wanted=wanted or Wanted())
    for path in source.paths:
        _check(path)
    wanted = wanted or Wanted()
    found = format_of(source)
    if wanted.reading.layer is not None and not found.layered:
        raise InputError(f"{source} ({found.title}) holds one image: leave --layer out.")
    opened: Image = named(found.opener)(source, scratch=scratch, wanted=wanted)
    return as_seen(opened, source, scratch=scratch, wanted=wanted)


def _check(path: Path) -> None:
    """Refuses what cannot be read, or holds nothing."""
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path.")
        if path.is_dir():
            return
        if not path.is_file():
            raise InputError(f"{path} is not a regular file; copy the image into one.")
        with path.open("rb") as f:
            head = f.read(1)
    except OSError as e:
        raise InputError(f"{path} cannot be read ({e.strerror or e}); check its permissions.") from e
    if not head:
        raise InputError(f"{path} is empty; fetch or export it again.")


def describe(info: ImageInfo) -> str:
    """One short line for people.

    Example: ``GeoTIFF, 934 × 724 pixels, 4 channels of uint8``.
    """
    unit = "pixels" if info.kind == "raster" else "voxels"
    size = " × ".join(str(n) for n in reversed(info.shape[-3:]))
    parts = [format_named(info.format).title, f"{size} {unit}"]
    if "t" in info.axes:
        parts.append(f"{info.shape[0]} frames")
    n = len(info.channels)
    parts.append(info.dtype if n == 1 else f"{n} channels of {info.dtype}")
    if info.kind == "volume":
        steps = list(reversed(info.grid["spacing"][-3:]))
        unit, factor = ("µm", 1e3) if max(steps) < 0.05 else ("mm", 1.0)
        spacing = " × ".join(f"{v * factor:.4g}" for v in steps)
        turned = f", {info.grid['orientation']}" if info.grid.get("patient", True) else ""
        parts.append(f"{spacing} {unit}{turned}")
    else:
        a, b, _, d, e, _ = info.grid["transform"]
        crs = info.grid["crs"]
        if crs is None:
            parts.append("no CRS")
        else:
            parts.append(_crs_name(crs))
            parts.append(f"pixel {math.hypot(a, d):.6g} × {math.hypot(b, e):.6g} {crs_unit(crs)}".rstrip())
    return ", ".join(parts)


def crs_unit(wkt: str) -> str:
    """The unit of a reference system's coordinates: ``m``, ``°``, or its name as the system has it."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        name = str(CRS.from_wkt(wkt).units_factor[0])
    except CRSError:
        return ""
    return {"metre": "m", "meter": "m", "degree": "°", "unknown": ""}.get(name.lower(), name)


def _crs_name(wkt: str) -> str:
    from rasterio.crs import CRS

    crs = CRS.from_wkt(wkt)
    authority = crs.to_authority()
    return ":".join(authority) if authority else wkt.split('"')[1]
