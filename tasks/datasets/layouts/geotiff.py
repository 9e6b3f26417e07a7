"""GeoTIFFs with masks beside them, or with vector labels burned onto their grid."""

from __future__ import annotations

from pathlib import Path

from tasks.datasets.dataset import Dataset
from tasks.datasets.layouts.pairs import IMAGE_FOLDERS, open_folders
from tasks.datasets.manifest import DatasetFile
from tasks.imagery.formats import TIFF_SUFFIXES


def looks_like_geotiff(root: Path) -> bool:
    """Whether the images of the folder are TIFFs."""
    for base in (root, *(root / split for split in ("train", "val", "test"))):
        for name in IMAGE_FOLDERS:
            folder = base / name
            if folder.is_dir():
                return any(p.name.lower().endswith(TIFF_SUFFIXES) for p in folder.rglob("*"))
    return False


def open_geotiff(root: Path, file: DatasetFile, *, scratch: Path, named_in: Path | None) -> Dataset:
    """``images/<id>.tif`` with ``masks/<id>.tif``, ``labels/<id>.gpkg``, or one file of labels for all."""
    return open_folders(root, file, layout="geotiff", scratch=scratch, named_in=named_in)
