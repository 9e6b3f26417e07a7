"""Masks of microscopy: OME-Zarr labels for Zarr, tiled OME-TIFF for TIFF stacks, byte for byte the same each time."""

from __future__ import annotations

import json
import math
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.bundles.card import ClassCard
from tasks.codes import special_codes
from tasks.crash import crash_point
from tasks.files import fsync_directory, writing
from tasks.imagery.mask_files import SPECIAL_COLOURS, fsync_replace, remove
from tasks.imagery.protocol import ImageInfo, Window
from tasks.imagery.raster.overviews import halve
from tasks.imagery.volume.flat_codes import FlatCodes

#: A level whose planes fit this is the last of a pyramid.
_SMALLEST = 256
_MOST_LEVELS = 12
#: Bytes of a mask held at once while it takes its final order.
_PIECE = 32 << 20
_TILE = 256
#: Above this many bytes of codes, offsets of a classic TIFF might not do.
_BIG = 1 << 31
_UNITS = {
    1e-3: ("micrometer", "µm"),
    1.0: ("millimeter", "mm"),
    1e-6: ("nanometer", "nm"),
    1e-7: ("angstrom", "Å"),
}


class _ArrayMask(ABC):
    """Collects windows in a plain file beside the mask, then writes the mask from it."""

    def __init__(
        self, info: ImageInfo, path: Path, *, classes: Sequence[ClassCard], wide: bool, tags: dict[str, str]
    ) -> None:
        self._info, self._path, self._tags = info, path, tags
        self._part = path.with_name(path.name + ".part")
        special = special_codes(wide=wide)
        self._nodata = special["nodata"]
        self._names = {c.code: c.name for c in classes} | {code: name for name, code in special.items()}
        self._colours = {c.code: c.colour for c in classes}
        self._colours |= {code: SPECIAL_COLOURS[name] for name, code in special.items()}
        self._background = {c.code for c in classes if not c.region}
        self._dtype = np.dtype("<u2" if wide else "u1")
        with writing(path):
            flat = path.with_name(path.name + ".flat.part")
            try:
                self._flat = FlatCodes(flat, shape=info.shape, dtype=self._dtype, fill=self._nodata)
            except BaseException:
                remove(flat)
                raise

    def write(self, window: Window, codes: npt.NDArray[Any]) -> None:
        """Writes codes ``([t,] z, y, x)``; see ``MaskWriter``."""
        with writing(self._path):
            self._flat.write(window, codes)

    def finish(self) -> None:
        """Writes the mask under a temporary name, fsyncs it, and gives it its name."""
        with writing(self._path):
            self._make()
            self._flat.close()
            self._flat.path.unlink()

    def abort(self) -> None:
        """Removes whatever was written."""
        self._flat.close()
        remove(self._flat.path)
        if self._part.is_dir():
            shutil.rmtree(self._part, ignore_errors=True)
        else:
            remove(self._part)

    @abstractmethod
    def _make(self) -> None:
        """Writes the mask from the plain file."""

    @property
    def _steps(self) -> dict[str, float]:
        affine = np.asarray(self._info.grid["affine"], float)
        return dict(zip("xyz", (float(affine[d, d]) for d in range(3)), strict=True))

    @property
    def _origin(self) -> dict[str, float]:
        affine = np.asarray(self._info.grid["affine"], float)
        return dict(zip("xyz", (float(affine[d, 3]) for d in range(3)), strict=True))

    @property
    def _units(self) -> tuple[str, str] | None:
        """The unit's name and sign, if the input states one that is written without rounding."""
        return _UNITS.get(float(self._info.grid["unit_mm"])) if self._info.grid["placed"] else None


class OmeZarrMask(_ArrayMask):
    """``mask.ome.zarr``: labels of the input's own version, axes and chunks, with a pyramid by mode."""

    def _make(self) -> None:
        import zarr

        about = self._info.grid["ome"]
        old = about["version"] == "0.4"
        shutil.rmtree(self._part, ignore_errors=True)
        group = zarr.open_group(str(self._part), mode="w", zarr_format=2 if old else 3)
        axes = [a for a in about["axes"] if a in "zyx" or a in self._info.axes]
        scales = []
        shape = self._info.shape
        above: Any = None
        for level in range(_MOST_LEVELS):
            above = self._level(group, str(level), shape, axes, above)
            scales.append([s / n for s, n in zip(self._info.shape, shape, strict=True)])
            if max(shape[-2:]) <= _SMALLEST:
                break
            shape = (*shape[:-2], -(-shape[-2] // 2), -(-shape[-1] // 2))
        group.attrs.update(self._attributes(axes, scales, about))
        crash_point(f"written {self._path.name}")
        fsync_tree(self._part)
        self._part.replace(self._path)
        crash_point(f"renamed {self._path.name}")
        fsync_directory(self._path.parent)

    def _level(self, group: Any, name: str, shape: tuple[int, ...], axes: list[str], above: Any) -> Any:
        """One level, band by band: the first from the plain file, others from the one above."""
        at = [self._info.axes.index(a) for a in axes]
        known = self._info.grid["ome"]["chunks"]
        chunks = tuple(min(int(known[a]), shape[i]) for a, i in zip(axes, at, strict=True))
        array = _new_array(group, name, tuple(shape[i] for i in at), chunks, self._dtype, axes)
        tall, rows = shape[-2], min(shape[-2], int(known["y"]))
        rows *= max(1, _PIECE // max(1, 4 * rows * shape[-1] * self._dtype.itemsize))
        for outer in np.ndindex(*_blocks(shape[:-2], [int(known.get(a, 1)) for a in self._info.axes[:-2]])):
            lead = tuple(
                slice(o * int(known.get(a, 1)), min((o + 1) * int(known.get(a, 1)), n))
                for o, a, n in zip(outer, self._info.axes[:-2], shape[:-2], strict=True)
            )
            for top in range(0, tall, rows):
                window = (*lead, slice(top, min(top + rows, tall)), slice(0, shape[-1]))
                codes = self._flat.read(window) if above is None else self._halved(above, window, axes)
                array[tuple(window[i] for i in at)] = _in_axes(codes, at)
        return array

    def _halved(self, above: Any, window: Window, axes: list[str]) -> npt.NDArray[Any]:
        """The commonest code of each 2 × 2 of the level above, in the order of the image's axes."""
        at = [self._info.axes.index(a) for a in axes]
        doubled = (*window[:-2], *(slice(2 * s.start, 2 * s.stop) for s in window[-2:]))
        stored = np.asarray(above[tuple(doubled[i] for i in at)])
        full = np.empty(
            [stored.shape[at.index(i)] if i in at else 1 for i in range(len(window))], self._dtype
        )
        full[...] = _in_axes(stored, at, back=True, ndim=len(window))
        planes = full.reshape(-1, *full.shape[-2:])
        halves = np.stack([halve(np.ascontiguousarray(p), self._nodata) for p in planes])
        return halves.reshape(*full.shape[:-2], *halves.shape[-2:])

    def _attributes(
        self, axes: list[str], scales: list[list[float]], about: dict[str, Any]
    ) -> dict[str, Any]:
        version = about["version"]
        steps, origin, units = self._steps, self._origin, self._units
        described = []
        for a in axes:
            entry = {"name": a, "type": "time" if a == "t" else "space"}
            if units is not None and a != "t":
                entry["unit"] = units[0]
            described.append(entry)
        datasets = []
        for level, factors in enumerate(scales):
            step = [
                float(about["t"]) if a == "t" else steps[a] * factors[self._info.axes.index(a)] for a in axes
            ]
            # A cell of a coarser level is centred between those that it stands for.
            moved = [
                0.0 if a == "t" else origin[a] + (factors[self._info.axes.index(a)] - 1) / 2 * steps[a]
                for a in axes
            ]
            placed: list[dict[str, Any]] = [{"type": "scale", "scale": step}]
            if any(moved):
                placed.append({"type": "translation", "translation": moved})
            datasets.append({"path": str(level), "coordinateTransformations": placed})
        scale = {"name": "mask", "axes": described, "datasets": datasets, "type": "mode"}
        label: dict[str, Any] = {
            "colors": [
                {"label-value": code, "rgba": [*_rgb(colour), 0 if code in self._background else 255]}
                for code, colour in sorted(self._colours.items())
            ],
            "properties": [{"label-value": code, "name": name} for code, name in sorted(self._names.items())],
        }
        if version == "0.4":
            body = {"multiscales": [{"version": "0.4", **scale}], "image-label": {"version": "0.4", **label}}
            return {**body, "segflow": self._tags}
        ome = {"version": "0.5", "multiscales": [scale], "image-label": label}
        return {"ome": ome, "segflow": self._tags}


class OmeTiffMask(_ArrayMask):
    """``mask.ome.tif``: tiles of 256, deflated, without date; the classes are in its description."""

    def _make(self) -> None:
        import tifffile

        shape = self._info.shape
        names = {str(code): self._names[code] for code in sorted(self._names)}
        about = json.dumps({"tags": self._tags, "classes": names}, sort_keys=True)
        identity = uuid.uuid5(uuid.NAMESPACE_OID, about + repr(shape))
        metadata: dict[str, Any] = {
            "axes": "".join(self._info.axes).upper(),
            "Name": "mask",
            "Description": about,
            "UUID": identity.urn,
        }
        units = self._units
        if units is not None:
            for axis, step in self._steps.items():
                metadata[f"PhysicalSize{axis.upper()}"] = step
                metadata[f"PhysicalSize{axis.upper()}Unit"] = units[1]
        size = math.prod(shape) * self._dtype.itemsize
        with tifffile.TiffWriter(self._part, bigtiff=size > _BIG, ome=True, byteorder="<") as out:
            out.write(
                self._tiles(),
                shape=shape,
                dtype=self._dtype,
                tile=(_TILE, _TILE),
                compression="zlib",
                compressionargs={"level": 6},
                photometric="minisblack",
                software="segflow",
                metadata=metadata,
                maxworkers=1,
            )
        fsync_replace(self._part, self._path)

    def _tiles(self) -> Iterator[npt.NDArray[Any]]:
        """Tiles of every plane in their order in the file."""
        *outer, tall, wide = self._info.shape
        for lead in np.ndindex(*outer):
            for top in range(0, tall, _TILE):
                rows = slice(top, min(top + _TILE, tall))
                line = self._flat.read((*(slice(n, n + 1) for n in lead), rows, slice(0, wide)))
                line = line.reshape(line.shape[-2:])
                for left in range(0, wide, _TILE):
                    tile = np.full((_TILE, _TILE), self._nodata, self._dtype)
                    part = line[:, left : left + _TILE]
                    tile[: part.shape[0], : part.shape[1]] = part
                    yield tile


def _new_array(
    group: Any,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: list[str],
) -> Any:
    if group.metadata.zarr_format == 2:
        from numcodecs import Zstd

        return group.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            fill_value=0,
            compressors=Zstd(level=5),
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
    from zarr.codecs import ZstdCodec

    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        fill_value=0,
        compressors=ZstdCodec(level=5),
        dimension_names=axes,
    )


def _blocks(shape: tuple[int, ...], sizes: list[int]) -> tuple[int, ...]:
    return tuple(-(-n // s) for n, s in zip(shape, sizes, strict=True))


def _in_axes(
    codes: npt.NDArray[Any], at: list[int], *, back: bool = False, ndim: int = 0
) -> npt.NDArray[Any]:
    """Codes of the image's axes in those of a file (``at``: which of them, in its order), or back."""
    if back:
        order = sorted(at)
        view = codes.transpose([at.index(i) for i in order])
        return view[tuple(slice(None) if i in at else np.newaxis for i in range(ndim))]
    missing = tuple(i for i in range(codes.ndim) if i not in at)
    kept = [i for i in range(codes.ndim) if i in at]
    return codes.squeeze(axis=missing).transpose([kept.index(i) for i in at])


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def fsync_tree(folder: Path) -> None:
    """Makes all files of a folder durable, and their names."""
    import os

    for path in sorted(folder.rglob("*")):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    fsync_directory(folder)
