"""Codes of a mask, read by windows, whatever file they lie in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tasks.datasets.dataset import Pair
from tasks.errors import InputError
from tasks.imagery.formats import NIFTI_SUFFIXES, TIFF_SUFFIXES
from tasks.imagery.open import open_image
from tasks.imagery.protocol import ImageInfo, Window

PNG_SUFFIXES = (".png",)
SUFFIXES = (*TIFF_SUFFIXES, *NIFTI_SUFFIXES, *PNG_SUFFIXES)
#: A PNG has no windows: it is held whole, and refused above this many pixels.
MOST_PNG_PIXELS = 64_000_000


class Codes(Protocol):
    """An open mask. ``read`` may be called from several threads."""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Size per spatial axis, slowest first."""
        ...

    @property
    def chunk(self) -> tuple[int, ...]:
        """The storage's own blocks per axis."""
        ...

    @property
    def info(self) -> ImageInfo | None:
        """The grid, where the file has one."""
        ...

    @property
    def nodata(self) -> int | None:
        """The code that the file itself declares as missing."""
        ...

    def read(self, window: Window) -> npt.NDArray[Any]:
        """``(*window)`` integer codes.

        Raises:
            InputError: The storage is damaged, or holds fractions.
        """
        ...

    def close(self) -> None:
        """Gives files back."""
        ...


class RasterCodes:
    """A mask in a GeoTIFF or NIfTI file.

    Args:
        path: The file.
        scratch: Folder for the inflated form of a ``.nii.gz``.

    Raises:
        InputError: It is no mask: several channels, or a time axis.
    """

    def __init__(self, path: Path, *, scratch: Path) -> None:
        self._image = open_image(path, scratch=scratch)
        self._info = self._image.info
        if len(self._info.channels) != 1 or "t" in self._info.axes:
            self._image.close()
            raise InputError(
                f"{path} is no mask: it has {len(self._info.channels)} channels and axes "
                f"{' '.join(self._info.axes)}; give one band of class codes"
            )

    @property
    def name(self) -> str:
        return str(self._info.source)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._info.shape

    @property
    def chunk(self) -> tuple[int, ...]:
        return self._info.chunk

    @property
    def info(self) -> ImageInfo | None:
        return self._info

    @property
    def nodata(self) -> int | None:
        value = self._info.nodata
        return int(value) if value is not None and math.isfinite(value) and value == int(value) else None

    def read(self, window: Window) -> npt.NDArray[Any]:
        values = self._values(window)
        if values.dtype.kind in "iub":
            return values
        codes = np.nan_to_num(values, nan=-1, posinf=-1, neginf=-1).astype(np.int32)
        if (codes != values)[np.isfinite(values)].any():
            raise InputError(f"{self.name} holds fractions, not class codes; export it as integers")
        return codes

    def _values(self, window: Window) -> npt.NDArray[Any]:
        from tasks.imagery.raster.dataset import RasterImage

        if isinstance(self._image, RasterImage):
            return self._image.read_codes(window)
        return self._image.read(window).values[..., 0]

    def close(self) -> None:
        self._image.close()


class PngCodes:
    """A mask in a PNG file: grey values, or the indices of a palette.

    Args:
        path: The file.

    Raises:
        InputError: It is damaged, in colours, or too large to be held.
    """

    def __init__(self, path: Path) -> None:
        from PIL import Image, UnidentifiedImageError

        self._path = path
        try:
            with Image.open(path) as image:
                if image.mode not in ("1", "L", "P", "I", "I;16"):
                    raise InputError(
                        f"{path} is in colours ({image.mode}), no mask of codes; export grey values"
                    )
                if math.prod(image.size) > MOST_PNG_PIXELS:
                    raise InputError(
                        f"{path} has more than {MOST_PNG_PIXELS:,} pixels and a PNG cannot be read by windows; "
                        "convert it with gdal_translate"
                    )
                array = np.asarray(image)
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"{path} cannot be read as PNG ({error}); export it again") from error
        self._codes = array.astype(np.uint8) if array.dtype == np.bool_ else array

    @property
    def name(self) -> str:
        return str(self._path)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._codes.shape

    @property
    def chunk(self) -> tuple[int, ...]:
        return self._codes.shape

    @property
    def info(self) -> ImageInfo | None:
        return None

    @property
    def nodata(self) -> int | None:
        return None

    def read(self, window: Window) -> npt.NDArray[Any]:
        return self._codes[window]

    def close(self) -> None:
        self._codes = self._codes[:0]


class PairTruth:
    """The truth of a data set's item, in class codes and ``IGNORE``.

    Args:
        pair: The open item.
        name: The item's id.
    """

    def __init__(self, pair: Pair, *, name: str) -> None:
        self._pair, self._name = pair, name

    @property
    def name(self) -> str:
        return f"the truth of {self._name}"

    @property
    def shape(self) -> tuple[int, ...]:
        return self._pair.shape

    @property
    def chunk(self) -> tuple[int, ...]:
        return (
            tuple(min(n, 512) for n in self._pair.shape[-2:])
            if len(self._pair.shape) == 2
            else (
                1,
                *self._pair.shape[1:],
            )
        )

    @property
    def info(self) -> ImageInfo | None:
        return None

    @property
    def nodata(self) -> int | None:
        return None

    def read(self, window: Window) -> npt.NDArray[Any]:
        return self._pair.truth(window)

    def close(self) -> None:
        self._pair.close()


def open_codes(path: Path, *, scratch: Path) -> Codes:
    """Opens a mask.

    Raises:
        InputError: It cannot be used as one; the sentence says why.
    """
    if path.name.lower().endswith(PNG_SUFFIXES):
        return PngCodes(path)
    return RasterCodes(path, scratch=scratch)
