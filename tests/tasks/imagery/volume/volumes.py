"""The same voxels in every format of volumes, written by the library of each format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK
import tifffile
import zarr

#: One that no power of two divides, so that a grid that is rounded is another.
AFFINE = np.array([[0.0, -1.3, 0.2, 11.1], [0.7, 0.0, 0.0, -7.3], [0.0, 0.4, 2.9, 5.7], [0, 0, 0, 1]])

Made = tuple[list[Path], np.ndarray]
"""Files of one image, and its voxels ``([t,] z, y, x, channels)`` as the format's library says."""


def voxels(dtype: str, *shape: int) -> np.ndarray:
    """Numbers that fill a type's range."""
    rng = np.random.default_rng(7)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1e3, shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=np.dtype(dtype), endpoint=True)


def canonical(path: Path) -> np.ndarray:
    """A NIfTI file as nibabel sees it, ``([t,] z, y, x)``."""
    data = np.asanyarray(nib.as_closest_canonical(nib.load(path)).dataobj)
    return data.transpose(list(range(data.ndim))[::-1])


def nifti(ending: str, order: str = "<", version: int = 1, frames: int = 1) -> Callable[[Path, str], Made]:
    def make(folder: Path, dtype: str) -> Made:
        data = voxels(dtype, 5, 7, 6, frames)
        data = data if frames > 1 else data[..., 0]
        pair = ending.startswith((".hdr", ".img"))
        kinds: dict[tuple[int, bool], Any] = {
            (1, False): (nib.Nifti1Header, nib.Nifti1Image),
            (2, False): (nib.Nifti2Header, nib.Nifti2Image),
            (1, True): (nib.nifti1.Nifti1PairHeader, nib.Nifti1Pair),
            (2, True): (nib.nifti2.Nifti2PairHeader, nib.Nifti2Pair),
        }
        header, image = kinds[version, pair]
        header = header(endianness=order)
        header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
        path = folder / f"scan{ending}"
        image(data, AFFINE, header).to_filename(path)
        return [path], canonical(path)[..., np.newaxis]

    return make


def modalities(folder: Path, dtype: str) -> Made:
    first, data = nifti(".nii.gz")(folder, dtype)
    second = folder / "other.nii"
    image: Any = nib.load(first[0])
    nib.Nifti1Image(np.asanyarray(image.dataobj)[::-1], AFFINE).to_filename(second)
    return [*first, second], np.stack([data[..., 0], canonical(second)], axis=-1)


def itk(ending: str, *, packed: bool, components: int = 1, frames: int = 1) -> Callable[[Path, str], Made]:
    def make(folder: Path, dtype: str) -> Made:
        shape = (6, 7, 5, components) if components > 1 else (frames, 6, 7, 5)
        stored = voxels(dtype, *(shape if frames > 1 or components > 1 else shape[1:]))
        image = SimpleITK.GetImageFromArray(stored, isVector=components > 1)
        if frames == 1:
            image.SetSpacing((0.7, 1.3, 2.9))
            image.SetOrigin((-11.1, 7.3, 5.7))
            image.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
        path = folder / f"scan{ending}"
        SimpleITK.WriteImage(image, str(path), useCompression=packed)
        # What ITK calls left to right runs as its own canonical turn says.
        spatial = stored if components > 1 else stored[..., np.newaxis]
        if frames > 1:
            return [path], spatial[:, :, ::-1, ::-1]
        turned = SimpleITK.DICOMOrient(image, "LPS")
        out = SimpleITK.GetArrayFromImage(turned)[:, ::-1, ::-1]
        return [path], out if components > 1 else out[..., np.newaxis]

    return make


def ome_zarr(version: str, axes: str = "tczyx") -> Callable[[Path, str], Made]:
    sizes = {"t": 2, "c": 3, "z": 5, "y": 70, "x": 41}
    chunks = {"t": 1, "c": 1, "z": 2, "y": 32, "x": 16}

    def make(folder: Path, dtype: str) -> Made:
        data = voxels(dtype, *(sizes[a] for a in axes))
        path = folder / "cells.ome.zarr"
        group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
        keys: Any = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if version == "0.4" else {}
        array = group.create_array(
            "0", shape=data.shape, dtype=data.dtype, chunks=tuple(chunks[a] for a in axes), **keys
        )
        array[...] = data
        kinds = {"t": "time", "c": "channel"}
        described = [
            {"name": a, "type": kinds.get(a, "space")} | ({"unit": "micrometer"} if a in "zyx" else {})
            for a in axes
        ]
        steps = {"t": 1.5, "c": 1.0, "z": 0.7, "y": 0.13, "x": 0.11}
        transform = [{"type": "scale", "scale": [steps[a] for a in axes]}]
        scale = {"axes": described, "datasets": [{"path": "0", "coordinateTransformations": transform}]}
        about = {"multiscales": [scale | ({"version": "0.4"} if version == "0.4" else {})]}
        group.attrs.update(about if version == "0.4" else {"ome": {"version": "0.5", **about}})
        return [path], arranged(data, axes)

    return make


def tiff(name: str, axes: str, **options: Any) -> Callable[[Path, str], Made]:
    sizes = {"T": 2, "C": 3, "Z": 5, "Y": 70, "X": 41, "S": 3}

    def make(folder: Path, dtype: str) -> Made:
        data = voxels(dtype, *(sizes[a] for a in axes))
        path = folder / name
        about: dict[str, Any] = {"axes": axes}
        if name.endswith(".ome.tif"):
            about |= {f"PhysicalSize{a}": s for a, s in zip("XYZ", (0.11, 0.13, 0.7), strict=True)}
            about |= {f"PhysicalSize{a}Unit": "µm" for a in "XYZ"}
        elif not options.get("imagej"):
            about = {}
        tifffile.imwrite(path, data, metadata=about or None, **options)
        return [path], arranged(data, axes.lower().replace("s", "c"))

    return make


def arranged(data: np.ndarray, axes: str) -> np.ndarray:
    """Named axes as ``([t,] z, y, x, channels)``."""
    order = [a for a in "tzyxc" if a in axes]
    data = data.transpose([axes.index(a) for a in order])
    for place, axis in enumerate("zyxc", start="t" in axes):
        data = data if axis in axes else np.expand_dims(data, place)
    return data


#: Of every format of volumes, ways to write it, and types of numbers.
MAKERS: dict[str, dict[str, tuple[Callable[[Path, str], Made], tuple[str, ...]]]] = {
    "nifti": {
        "one file": (nifti(".nii"), ("int16", "uint8", "float32")),
        "big-endian": (nifti(".nii.gz", ">"), ("int16", "float64")),
        "NIfTI-2": (nifti(".nii.gz", version=2), ("uint16",)),
        "frames": (nifti(".nii.gz", frames=3), ("int16",)),
        "pair": (nifti(".hdr"), ("int16",)),
        "pair, its image named": (nifti(".img.gz", ">"), ("float32",)),
        "pair of NIfTI-2": (nifti(".hdr", version=2), ("int32",)),
    },
    "modalities": {"two": (modalities, ("int16", "float32"))},
    "nrrd": {
        "plain": (itk(".nrrd", packed=False), ("int16", "float64")),
        "gzip": (itk(".nrrd", packed=True), ("uint16", "float32")),
        "apart": (itk(".nhdr", packed=False), ("uint8",)),
        "apart, gzip": (itk(".nhdr", packed=True), ("int32",)),
        "components": (itk(".nrrd", packed=True, components=3), ("int16",)),
        "frames": (itk(".nrrd", packed=False, frames=2), ("float32",)),
    },
    "metaimage": {
        "plain": (itk(".mha", packed=False), ("int16", "float32")),
        "packed": (itk(".mha", packed=True), ("uint16",)),
        "apart": (itk(".mhd", packed=False), ("int8",)),
        "apart, packed": (itk(".mhd", packed=True), ("float64",)),
        "components": (itk(".mha", packed=False, components=3), ("uint8",)),
        "frames": (itk(".mha", packed=False, frames=2), ("float32",)),
    },
    "ome-zarr": {
        "0.4": (ome_zarr("0.4"), ("uint16", "float32")),
        "0.5": (ome_zarr("0.5"), ("uint8",)),
        "one plane": (ome_zarr("0.5", "yx"), ("uint16",)),
        "other order": (ome_zarr("0.4", "zcyx"), ("int16",)),
    },
    "tiff-stack": {
        "OME": (tiff("c.ome.tif", "TCZYX", tile=(16, 32), compression="zlib"), ("uint16",)),
        "OME, strips, big-endian": (tiff("c.ome.tif", "ZYX", byteorder=">"), ("float32", "int16")),
        "OME, colours": (tiff("c.ome.tif", "YXS", photometric="rgb"), ("uint8",)),
        "ImageJ": (tiff("c.tif", "TZCYX", imagej=True), ("uint16", "float32")),
        "pages": (tiff("c.tif", "ZYX", photometric="minisblack"), ("uint8", "uint16")),
        "LZW": (tiff("c.ome.tif", "ZYX", compression="lzw", predictor=True), ("uint16",)),
    },
}
CASES = [
    (name, way, dtype)
    for name, ways in MAKERS.items()
    for way, (_, dtypes) in ways.items()
    for dtype in dtypes
]


def make(folder: Path, name: str, way: str, dtype: str) -> Made:
    """One of ``CASES`` on the disk."""
    return MAKERS[name][way][0](folder, dtype)


def same(a: Any, b: Any) -> bool:
    """Whether two descriptions are the same to the last bit."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
