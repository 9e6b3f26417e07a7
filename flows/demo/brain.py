"""The brain demo: the MNI152 T1 template, and the tissue maps that judge it.

All come from the package ``nilearn`` (ICBM 2009a nonlinear symmetric, 1 mm, skull-stripped).
A voxel is grey or white matter where that map's probability exceeds one half, else background.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from flows.demo.packages import package_file
from tasks.files import atomic_write, writing

CLASSES = ("background", "grey matter", "white matter")
SHAPE = (189, 233, 197)
"""Canonical order ``(z, y, x)``: towards superior, anterior, right."""
_FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"


def brain_nifti(path: Path) -> Path:
    """Copies the template, unchanged; its folder is made.

    Raises:
        InputError: The package is not installed.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    source = package_file("nilearn", "datasets", "data", _FILE.format("t1"))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream, source.open("rb") as template:
        shutil.copyfileobj(template, stream)
    return path


def brain_t1() -> npt.NDArray[np.uint8]:
    """The template's values, ``(189, 233, 197)`` in order ``(z, y, x)``."""
    return _read("t1")


def brain_truth() -> npt.NDArray[np.uint8]:
    """True tissue of every voxel in order ``(z, y, x)``: 0 background, 1 grey, 2 white matter.

    The maps hold 0…255 for probabilities 0…1, so no voxel can exceed one half in both.
    """
    truth = np.zeros(SHAPE, np.uint8)
    truth[_read("gm") > 127] = 1
    truth[_read("wm") > 127] = 2
    return truth


def changed_copies(t1: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
    """The template as it is and as other scanners might show it, float32, background still 0."""
    x = t1.astype(np.float32)
    field = np.float32(0.2) * smooth_field(t1.shape)
    return {
        "plain": x,
        "gamma_0.8": np.asarray(255 * (x / 255) ** 0.8, np.float32),
        "gamma_1.25": np.asarray(255 * (x / 255) ** 1.25, np.float32),
        "bias_+20": x * (1 + field),
        "bias_-20": x * (1 - field),
    }


def smooth_field(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A slow wave over ``(z, y, x)`` from exactly -1 to exactly 1, as of an uneven coil."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    wave = np.sin(1.7 * z + 0.3) + np.cos(2.1 * y - 0.4) + np.sin(1.9 * x + 1.0) + 0.5 * z * y
    low, high = wave.min(), wave.max()
    return np.asarray((wave - low) / (high - low) * 2 - 1, np.float32)


def known_regions() -> dict[str, int]:
    """Names of the classes whose volumes the demo compares, with their codes."""
    return {"grey matter": 1, "white matter": 2}


def _read(kind: str) -> npt.NDArray[np.uint8]:
    import nibabel as nib

    file = package_file("nilearn", "datasets", "data", _FILE.format(kind))
    image = cast(nib.nifti1.Nifti1Image, nib.load(file))
    # the files are stored right, anterior, superior: canonical order is their transpose
    return np.ascontiguousarray(np.asarray(image.dataobj).astype(np.uint8).transpose(2, 1, 0))
