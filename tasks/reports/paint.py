"""Colours: stretch an image, turn mask codes into a translucent layer, put one on the other.

Arrays are ``(height, width, channels)`` uint8 unless said otherwise.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

Picture = npt.NDArray[np.uint8]
Codes = npt.NDArray[Any]

FAILED_RED = (200, 30, 45)
UNOBSERVED_GREY = (110, 122, 138)
CHECKER = ((233, 235, 238), (216, 219, 224))
FILL_ALPHA = 178
#: Above this share of outline pixels a decimated mask is texture, and outlines would only hide it.
BUSY = 0.45


def stretch(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Maps ``low…high`` to 0…255, clipped; not-a-number becomes 0.

    Args:
        values: Any shape and real dtype.
        low: Value that becomes black.
        high: Value that becomes white; where it does not exceed ``low`` everything is mid-grey.
    """
    if not high > low:
        return np.full(values.shape, 128, np.uint8)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (values.astype(np.float64) - low) * (255.0 / (high - low))
        return np.nan_to_num(np.clip(np.rint(scaled), 0, 255)).astype(np.uint8)


def rgb(colour: str) -> tuple[int, int, int]:
    """``#rrggbb`` as three numbers."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def outline(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """A colour that separates an area of ``colour`` from its surroundings."""
    light = (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) > 110
    r, g, b = (round(0.55 * v) if light else round(v + 0.6 * (255 - v)) for v in colour)
    return r, g, b


def with_nodata(base: Picture, nodata: npt.NDArray[np.bool_]) -> Picture:
    """``base`` with a grey checker board where there is nothing to show."""
    y, x = np.indices(nodata.shape)
    board = np.array(CHECKER, np.uint8)[((y // 8) + (x // 8)) % 2]
    return np.where(nodata[..., None], board, base)


def layer(codes: Codes, classes: Sequence[Mapping[str, Any]], reserved: Mapping[str, int]) -> Picture:
    """The mask as an RGBA layer.

    Classes with ``region`` are filled and outlined, a background stays clear, failed pixels are
    hatched in red, unobserved ones striped in grey; nodata stays clear (``with_nodata`` shows it).

    Args:
        codes: ``(height, width)`` mask codes.
        classes: The classes of the bundle: name, code, colour, region.
        reserved: Codes of nodata, failed and unobserved.

    Returns:
        ``(height, width, 4)`` uint8.
    """
    codes = codes.astype(np.int64)
    lut = np.zeros((65536, 4), np.uint8)
    edge_lut = np.zeros((65536, 4), np.uint8)
    for c in classes:
        if c["region"]:
            colour = rgb(c["colour"])
            lut[c["code"]] = (*colour, FILL_ALPHA)
            edge_lut[c["code"]] = (*outline(colour), 255)
    out = lut[codes]
    edges = (out[..., 3] > 0) & _differs(codes)
    if edges.sum() <= BUSY * max(1, int((out[..., 3] > 0).sum())):
        out[edges] = edge_lut[codes[edges]]
    y, x = np.indices(codes.shape)
    failed = codes == reserved["failed"]
    out[failed] = (*FAILED_RED, 110)
    out[failed & ((y + x) % 8 < 4)] = (*FAILED_RED, 255)
    unobserved = codes == reserved["unobserved"]
    out[unobserved] = (*UNOBSERVED_GREY, 150)
    out[unobserved & (y % 6 < 2)] = (*UNOBSERVED_GREY, 255)
    return out


def _differs(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether one of a pixel's four neighbours has another code."""
    out = np.zeros(codes.shape, bool)
    down, right = codes[1:] != codes[:-1], codes[:, 1:] != codes[:, :-1]
    out[1:] |= down
    out[:-1] |= down
    out[:, 1:] |= right
    out[:, :-1] |= right
    return out


def blend(base: Picture, top: Picture, opacity: float = 1.0) -> Picture:
    """``base`` (RGB) under ``top`` (RGBA), whose alpha is multiplied by ``opacity``."""
    alpha = top[..., 3:].astype(np.float64) / 255.0 * opacity
    return np.rint(base * (1 - alpha) + top[..., :3] * alpha).astype(np.uint8)


def enlarge(array: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """Nearest-neighbour resampling of the first two axes."""
    rows = (np.arange(height) * array.shape[0]) // height
    columns = (np.arange(width) * array.shape[1]) // width
    return array[rows[:, None], columns[None, :]]


def png(picture: Picture) -> bytes:
    """PNG with a palette where 256 colours are enough (layers are: a third of the size)."""
    out = io.BytesIO()
    packed = np.ascontiguousarray(picture)
    if packed.shape[-1] == 4:
        colours, index = np.unique(packed.view(np.uint32).ravel(), return_inverse=True)
        if len(colours) <= 256:
            table = colours.view(np.uint8).reshape(-1, 4)
            image = PILImage.fromarray(index.reshape(packed.shape[:2]).astype(np.uint8))
            image = image.convert("L")
            image.putpalette(table[:, :3].tobytes())
            image.save(out, "PNG", compress_level=7, transparency=table[:, 3].tobytes())
            return out.getvalue()
    PILImage.fromarray(packed).save(out, "PNG", compress_level=6)
    return out.getvalue()


def jpeg(picture: Picture, *, limit: int) -> bytes:
    """JPEG of at most ``limit`` bytes where any quality reaches it."""
    for quality in (88, 78, 66, 50, 35, 20):
        out = io.BytesIO()
        PILImage.fromarray(picture).save(out, "JPEG", quality=quality, optimize=True)
        if out.tell() <= limit:
            break
    return out.getvalue()
