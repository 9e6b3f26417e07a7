"""The first directory of a TIFF, read by hand: is the data that it claims really in the file?

GDAL opens a truncated or absurd TIFF without a word and fails at the first read, hours
later; the offsets table tells at once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from tasks.errors import InputError

#: More pixels than this in one file are refused (316,000 × 316,000).
MAX_PIXELS = 10**11

_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_WIDTH, _HEIGHT, _SAMPLES, _ROWS_PER_STRIP, _PLANAR = 256, 257, 277, 278, 284
_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = (
    273,
    279,
    322,
    323,
    324,
    325,
)
_TABLE_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Entry:
    dtype: str
    count: int
    offset: int


def is_tiff(head: bytes) -> bool:
    """Whether the first four bytes are those of a classic or a Big TIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def check_tiff(path: Path) -> None:
    """Refuses a TIFF whose first directory claims what the file cannot hold.

    Sparse blocks (offset and length 0) are legitimate. Costs one pass over the offsets
    table, in pieces.

    Raises:
        InputError: The file is truncated, its size absurd, or its directory damaged.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as f:
            order, entries = _directory(f)
            _check(f, path, size, order, entries)
    except (struct.error, EOFError, KeyError, ValueError) as e:
        raise InputError(f"{path} is a truncated or damaged TIFF ({e}); fetch or export it again.") from e


def _exactly(f: BinaryIO, offset: int, n: int) -> bytes:
    f.seek(offset)
    data = f.read(n)
    if len(data) < n:
        raise EOFError("the file ends inside its directory")
    return data


def _directory(f: BinaryIO) -> tuple[str, dict[int, _Entry]]:
    head = _exactly(f, 0, 8)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    if big:
        (start,) = struct.unpack(order + "Q", _exactly(f, 8, 8))
        (n,) = struct.unpack(order + "Q", _exactly(f, start, 8))
        first, step, inline, layout = start + 8, 20, 8, "HHQQ"
    else:
        (start,) = struct.unpack(order + "I", head[4:8])
        (n,) = struct.unpack(order + "H", _exactly(f, start, 2))
        first, step, inline, layout = start + 2, 12, 4, "HHII"
    if n > 65535:
        raise ValueError("its directory claims an impossible number of tags")
    table = _exactly(f, first, n * step)
    entries = {}
    for i in range(n):
        tag, kind, count, value = struct.unpack_from(order + layout, table, i * step)
        fits = count * _SIZES.get(kind, 1) <= inline
        offset = first + i * step + (step - inline) if fits else value
        if kind in _INTEGERS:
            entries[tag] = _Entry(_INTEGERS[kind], count, offset)
    return order, entries


def _values(f: BinaryIO, order: str, entry: _Entry, start: int, stop: int) -> npt.NDArray[np.uint64]:
    dtype = np.dtype(entry.dtype).newbyteorder(order)  # type: ignore[arg-type]
    data = _exactly(f, entry.offset + start * dtype.itemsize, (stop - start) * dtype.itemsize)
    return np.frombuffer(data, dtype).astype(np.uint64)


def _check(f: BinaryIO, path: Path, size: int, order: str, entries: dict[int, _Entry]) -> None:
    def one(tag: int, default: int | None = None) -> int:
        if tag not in entries:
            if default is None:
                raise KeyError(f"tag {tag} is missing")
            return default
        return int(_values(f, order, entries[tag], 0, 1)[0])

    width, height, samples = one(_WIDTH), one(_HEIGHT), one(_SAMPLES, 1)
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{path} claims {width} × {height} pixels, more than the {MAX_PIXELS:.0e} allowed; "
            "cut it with gdal_translate -srcwin, or check that the header is not damaged."
        )
    if not width or not height or not samples:
        raise InputError(f"{path} claims {width} × {height} pixels in {samples} bands; export it again.")
    if _TILE_OFFSETS in entries:
        offsets, counts = entries[_TILE_OFFSETS], entries.get(_TILE_COUNTS, entries.get(_STRIP_COUNTS))
        across, down = -(-width // max(one(_TILE_WIDTH), 1)), -(-height // max(one(_TILE_HEIGHT), 1))
    else:
        offsets, counts = entries[_STRIP_OFFSETS], entries.get(_STRIP_COUNTS)
        across, down = 1, -(-height // min(max(one(_ROWS_PER_STRIP, height), 1), height))
    expected = across * down * (samples if one(_PLANAR, 1) == 2 else 1)
    if offsets.count < expected:
        raise InputError(
            f"{path} claims {width} × {height} pixels in {expected} blocks but lists only {offsets.count}: "
            "its header is damaged; fetch or export it again."
        )
    end = 0
    for start in range(0, expected, _TABLE_CHUNK):
        stop = min(start + _TABLE_CHUNK, expected)
        ends = _values(f, order, offsets, start, stop)
        if counts is not None and counts.count >= expected:
            ends = ends + _values(f, order, counts, start, stop)
        end = max(end, int(ends.max()))
    if end > size:
        raise InputError(
            f"{path} is truncated: its blocks reach byte {end} but it ends at {size}; fetch it again."
        )
