"""One GeoTIFF or NIfTI file from an open item, written by windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tasks.datasets.dataset import Pair
from tasks.evaluation.counting import windows
from tasks.files import writing
from tasks.imagery.protocol import Window

BLOCK = 256


def write_input(pair: Pair, *, folder: Path, name: str, names: Sequence[str]) -> Path:
    """Writes the image of an item, float32 in the units of its files; what is not valid becomes NaN.

    The same item gives the same bytes, so that a run on it is found done the next time.

    Args:
        pair: The open item.
        folder: Where the file goes.
        name: Its name without extension.
        names: Of the channels.

    Raises:
        OutputError: The folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if len(pair.shape) == 2:
            path, write = folder / f"{name}.tif", _write_tiff
        else:
            path, write = folder / f"{name}.nii", _write_nifti
        part = folder / f".{name}.part{path.suffix}"
        try:
            write(pair, part, names)
            if not path.is_file() or not _same(path, part):
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


def _same(first: Path, second: Path) -> bool:
    """Whether two files hold the same bytes: a file that stays as it was needs no new digest."""
    if first.stat().st_size != second.stat().st_size:
        return False
    with first.open("rb") as a, second.open("rb") as b:
        return all(
            x == y
            for x, y in zip(
                iter(lambda: a.read(1 << 20), b""), iter(lambda: b.read(1 << 20), b""), strict=True
            )
        )


def _pixels(pair: Pair, window: Window) -> np.ndarray:
    values = np.array(pair.image(window), np.float32)
    values[~pair.valid(window)] = np.nan
    return values


def _write_tiff(pair: Pair, path: Path, names: Sequence[str]) -> None:
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.windows import Window as RasterWindow

    first = pair.image(tuple(slice(0, 1) for _ in pair.shape))
    channels = first.shape[-1]
    profile = {
        "driver": "GTiff",
        "height": pair.shape[0],
        "width": pair.shape[1],
        "count": channels,
        "dtype": "float32",
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "pixel",
        "compress": "deflate",
        "photometric": "minisblack",
        "alpha": "no",
        "bigtiff": "if_safer",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as file:
            if len(names) == channels:
                for band, name in enumerate(names, 1):
                    file.set_band_description(band, name)
            for window in windows(pair.shape, (BLOCK, BLOCK)):
                rows, columns = window
                where = RasterWindow(
                    columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start
                )
                file.write(np.moveaxis(_pixels(pair, window), -1, 0), window=where)


def _write_nifti(pair: Pair, path: Path, names: Sequence[str]) -> None:
    """Canonical axes and spacing; the origin is the first voxel, as an open item does not tell its place."""
    import nibabel

    channels = pair.image(tuple(slice(0, 1) for _ in pair.shape)).shape[-1]
    spacing = pair.spacing or (1.0,) * 3
    header = nibabel.Nifti1Header()
    if max(pair.shape) >= 2**15:
        header = nibabel.Nifti2Header()
    shape = tuple(reversed(pair.shape))
    header.set_data_dtype(np.dtype("<f4"))
    header.set_data_shape((*shape, channels) if channels > 1 else shape)
    header.set_sform(np.diag([*reversed(spacing), 1.0]), code=1)
    header.set_qform(np.diag([*reversed(spacing), 1.0]), code=1)
    header.set_xyzt_units("mm")
    offset = 352 if isinstance(header, nibabel.Nifti1Header) and header.sizeof_hdr == 348 else 544
    header["vox_offset"] = offset
    with path.open("wb") as stream:
        header.write_to(stream)
        stream.write(b"\0" * (offset - stream.tell()))
        frame = 4 * math.prod(pair.shape)
        for z in range(pair.shape[0]):
            window = (slice(z, z + 1), *(slice(0, n) for n in pair.shape[1:]))
            plane = _pixels(pair, window)[0].astype("<f4")
            for channel in range(channels):
                stream.seek(offset + channel * frame + z * (frame // pair.shape[0]))
                stream.write(np.ascontiguousarray(plane[..., channel]).tobytes())
