"""The immutable file a block leaves: finished pixels, border sums, digest.

Layout: compressed arrays one after the other, a JSON index, its length (8 bytes, little
endian), and the sha256 of everything before. The file is written under a temporary name,
fsynced and renamed, so a file under its final name that passes its digest is complete:
the folder of block files is the ledger, and no other record of what is done exists.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from numcodecs import Blosc

from tasks.tiling.grid import Index

_MAGIC = b"SEGBLK1\n"
_TRAILER = 8 + 32
SLAB_BYTES = 4 << 20

Kind = Literal["final", "sums", "shares"]


@dataclass(frozen=True)
class TileFailure:
    """A tile that could not be predicted, and why."""

    tile: Index
    reason: str


@dataclass(frozen=True)
class Array:
    """Where an array lies in the file."""

    offset: int
    length: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Slab:
    """A box of the image with the block's contribution to it.

    Attributes:
        kind: ``final`` holds codes and confidence; ``sums`` holds accumulators and status,
            to be added to those of the other blocks that touch the box; ``shares`` holds finished
            probabilities and status of a lattice.
    """

    kind: Kind
    low: Index
    high: Index
    arrays: dict[str, Array]


class BlockWriter:
    """Writes slabs into a stream opened by :func:`tasks.files.atomic_write`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._at = 0
        self._slabs: list[Slab] = []
        self._attached: dict[str, Array] = {}
        self._put(_MAGIC)

    def _put(self, data: bytes) -> None:
        self._stream.write(data)
        self._hash.update(data)
        self._at += len(data)

    def add(self, kind: Kind, low: Index, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Adds one box, cut into slabs along its first axis of more than one pixel.

        Args:
            arrays: Spatial axes last; all with the same spatial shape.
        """
        shape = min((a.shape for a in arrays.values()), key=len)
        nd = len(shape)
        cut = next((d for d, n in enumerate(shape) if n > 1), 0)
        row = sum(a.nbytes for a in arrays.values()) // max(1, shape[cut])
        rows = max(1, SLAB_BYTES // max(1, row))
        for start in range(0, shape[cut], rows):
            stop = min(start + rows, shape[cut])
            stored = {}
            for name, a in arrays.items():
                index = (slice(None),) * (a.ndim - nd + cut) + (slice(start, stop),)
                stored[name] = self._store(np.ascontiguousarray(a[index]))
            slab_low = tuple(v + start if d == cut else v for d, v in enumerate(low))
            slab_high = tuple(
                v + (stop if d == cut else n) for d, (v, n) in enumerate(zip(low, shape, strict=True))
            )
            self._slabs.append(Slab(kind, slab_low, slab_high, stored))

    def attach(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Adds arrays that belong to no box, under names of their own."""
        for name, a in arrays.items():
            self._attached[name] = self._store(np.ascontiguousarray(a))

    def _store(self, a: npt.NDArray[Any]) -> Array:
        # LZ4: these files live for minutes, and are read and written at the speed of the whole run.
        codec = Blosc(cname="lz4", clevel=1, shuffle=Blosc.BITSHUFFLE)
        data = bytes(codec.encode(a))
        entry = Array(self._at, len(data), a.dtype.str, a.shape)
        self._put(data)
        return entry

    def close(self, *, failures: list[TileFailure]) -> None:
        """Writes index and digest."""
        index = {
            "slabs": [asdict(s) for s in self._slabs],
            "attached": {name: asdict(a) for name, a in self._attached.items()},
            "failures": [asdict(f) for f in failures],
        }
        text = json.dumps(index, separators=(",", ":")).encode()
        self._put(text)
        self._put(len(text).to_bytes(8, "little"))
        self._stream.write(self._hash.digest())


class BlockFile:
    """A finished block's file, opened for reading.

    Raises:
        ValueError: The file is torn or altered (only with ``verify``).
    """

    def __init__(self, path: Path, *, verify: bool = False) -> None:
        self.path = path
        size = path.stat().st_size
        with path.open("rb") as stream:
            if size < len(_MAGIC) + _TRAILER or stream.read(len(_MAGIC)) != _MAGIC:
                raise ValueError(f"{path.name} is not a block file")
            if verify:
                _check_digest(path, size)
            stream.seek(size - _TRAILER)
            length = int.from_bytes(stream.read(8), "little")
            stream.seek(size - _TRAILER - length)
            index = json.loads(stream.read(length))
        self.slabs = [_slab(s) for s in index["slabs"]]
        self._attached = {name: _array(a) for name, a in index["attached"].items()}
        self.failures = [TileFailure(tuple(f["tile"]), f["reason"]) for f in index["failures"]]

    def read(self, slab: Slab, name: str) -> npt.NDArray[Any]:
        """One array of a slab, spatial axes last."""
        return self._decode(slab.arrays[name])

    def attached(self, name: str) -> npt.NDArray[Any] | None:
        """An array that belongs to no box, or None if there is none of this name."""
        return self._decode(self._attached[name]) if name in self._attached else None

    def _decode(self, a: Array) -> npt.NDArray[Any]:
        with self.path.open("rb") as stream:
            stream.seek(a.offset)
            data = Blosc().decode(stream.read(a.length))
        return np.frombuffer(data, a.dtype).reshape(a.shape)


def _array(raw: dict[str, Any]) -> Array:
    return Array(raw["offset"], raw["length"], raw["dtype"], tuple(raw["shape"]))


def _slab(raw: dict[str, Any]) -> Slab:
    arrays = {k: _array(v) for k, v in raw["arrays"].items()}
    return Slab(raw["kind"], tuple(raw["low"]), tuple(raw["high"]), arrays)


def _check_digest(path: Path, size: int) -> None:
    digest = hashlib.sha256()
    left = size - 32
    with path.open("rb") as stream:
        while left:
            piece = stream.read(min(left, 1 << 20))
            if not piece:
                break
            digest.update(piece)
            left -= len(piece)
        if digest.digest() != stream.read(32):
            raise ValueError(f"{path.name} does not match its digest")


def block_path(directory: Path, number: int) -> Path:
    """Where block ``number`` leaves its file."""
    return directory / f"block-{number:08d}.blk"


def is_finished(directory: Path, number: int) -> bool:
    """Whether a block is done: its file exists and passes its digest. A torn file is removed."""
    path = block_path(directory, number)
    if not path.exists():
        return False
    try:
        BlockFile(path, verify=True)
    except (ValueError, KeyError):
        path.unlink()
        return False
    return True
