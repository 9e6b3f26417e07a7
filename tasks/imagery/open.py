"""One door for every image: refuse early, with a reason."""

from __future__ import annotations

import math
from pathlib import Path

from tasks.errors import InputError
from tasks.imagery.protocol import Image, ImageInfo
from tasks.imagery.raster.tiff_header import is_tiff

TIFF_SUFFIXES = (".tif", ".tiff", ".gtiff", ".gtif")
NIFTI_SUFFIXES = (".nii", ".nii.gz")


def open_image(path: str | Path, *, scratch: Path, channels: int | None = None) -> Image:
    """Opens a GeoTIFF or NIfTI image.

    Args:
        path: A local file.
        scratch: Folder for temporary data (the inflated form of a ``.nii.gz``).
        channels: Number of channels that the model takes, if known; it decides whether a
            band tagged alpha, or the fourth axis of a volume, is channels.

    Raises:
        InputError: The file is missing, damaged, or no image that can be segmented.
        tasks.errors.OutputError: ``scratch`` cannot take the inflated data.
    """
    path = Path(path)
    name = path.name.lower()
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path.")
        if path.is_dir():
            raise InputError(f"{path} is a directory; name one GeoTIFF or NIfTI file in it.")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file; copy the image into one.")
        with path.open("rb") as f:
            head = f.read(4)
    except OSError as e:
        raise InputError(f"{path} cannot be read ({e.strerror or e}); check its permissions.") from e
    if not head:
        raise InputError(f"{path} is empty; fetch or export it again.")
    if name.endswith(TIFF_SUFFIXES):
        if not is_tiff(head):
            raise InputError(f"{path} is not a TIFF although its name says so; export the image as GeoTIFF.")
        from tasks.imagery.raster.geotiff import GeoTiffImage

        return GeoTiffImage(path, channels=channels)
    if name.endswith(NIFTI_SUFFIXES):
        from tasks.imagery.volume.nifti import NiftiImage

        return NiftiImage(path, scratch=scratch, channels=channels)
    raise InputError(
        f"{path} is neither GeoTIFF (.tif, .tiff) nor NIfTI (.nii, .nii.gz) by its name; "
        "convert it with gdal_translate or dcm2niix."
    )


def describe(info: ImageInfo) -> str:
    """One short line for people.

    Example: ``GeoTIFF, 934 × 724 pixels, 4 channels of uint8``.
    """
    kind, unit = ("GeoTIFF", "pixels") if info.format == "geotiff" else ("NIfTI", "voxels")
    size = " × ".join(str(n) for n in reversed(info.shape[-3:]))
    parts = [kind, f"{size} {unit}"]
    if "t" in info.axes:
        parts.append(f"{info.shape[0]} frames")
    n = len(info.channels)
    parts.append(info.dtype if n == 1 else f"{n} channels of {info.dtype}")
    if info.format == "nifti":
        spacing = " × ".join(f"{v:.4g}" for v in reversed(info.grid["spacing"][-3:]))
        parts.append(f"{spacing} mm, {info.grid['orientation']}")
    else:
        a, b, _, d, e, _ = info.grid["transform"]
        crs = info.grid["crs"]
        if crs is None:
            parts.append("no CRS")
        else:
            parts.append(_crs_name(crs))
            parts.append(f"pixel {math.hypot(a, d):.6g} × {math.hypot(b, e):.6g}")
    return ", ".join(parts)


def _crs_name(wkt: str) -> str:
    from rasterio.crs import CRS

    crs = CRS.from_wkt(wkt)
    authority = crs.to_authority()
    return ":".join(authority) if authority else wkt.split('"')[1]
