"""One door for every layout of a data set."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal, get_args

from tasks.datasets.dataset import Dataset, Layout
from tasks.datasets.layouts.cityscapes import looks_like_cityscapes, open_cityscapes
from tasks.datasets.layouts.coco import coco_manifests, open_coco
from tasks.datasets.layouts.decathlon import open_decathlon
from tasks.datasets.layouts.geotiff import looks_like_geotiff, open_geotiff
from tasks.datasets.layouts.instances import looks_like_instances, open_instances
from tasks.datasets.layouts.nnunet import looks_like_nnunet, open_nnunet
from tasks.datasets.layouts.pairs import open_folders
from tasks.datasets.layouts.voc import find_voc, open_voc
from tasks.datasets.manifest import DatasetFile, check_file, find_file, parse_file, read_mapping
from tasks.errors import InputError, UsageError

_VOLUMES = ("nnunet", "decathlon")


def open_dataset(
    path: str | Path,
    *,
    layout: Layout | Literal["auto"] = "auto",
    scratch: Path | None = None,
    manifest: DatasetFile | None = None,
) -> Dataset:
    """Finds out what lies in a folder, without reading images.

    Only where nothing names classes or channels are files looked at: all masks for their values,
    the first images for their channels.

    Args:
        path: The folder, or the ``dataset.json``/``dataset.yaml`` in it.
        layout: How it lies on disk; ``auto`` asks its own file, then the folders' names.
        scratch: Folder for inflated volumes during that look; a temporary one by default.
        manifest: What a ``dataset.json`` would say, instead of the folder's own.

    Raises:
        InputError: The folder is missing, of no known layout, or its own file is wrong.
        UsageError: The layout's name is unknown.
    """
    known = get_args(Layout)
    if layout != "auto" and layout not in known:
        raise UsageError(f"there is no layout {layout!r}; there are auto, {', '.join(known)}.")
    root = Path(path)
    if root.is_file() and root.name == "dataset.json":
        root = root.parent
    if not root.is_dir():
        raise InputError(f"{path} is no folder; name the folder of the data set.")
    # absolute, but links kept: an item's path is what the user sees
    root = Path(root.absolute())
    if scratch is not None:
        return _open(root, layout, scratch, manifest)
    with tempfile.TemporaryDirectory(prefix="segflow-") as folder:
        return _open(root, layout, Path(folder), manifest)


def _open(root: Path, layout: str, scratch: Path, manifest: DatasetFile | None) -> Dataset:
    if manifest is not None:
        given = Path("data.manifest")
        return _of_file(root, check_file(manifest, given), given, layout, scratch)
    named_in = find_file(root)
    value = {} if named_in is None else read_mapping(named_in)
    if named_in is not None and layout in ("auto", *_VOLUMES) and _speaks_of_volumes(value):
        if layout == "nnunet" or (layout == "auto" and looks_like_nnunet(root, value)):
            return open_nnunet(root, value, named_in)
        return open_decathlon(root, value, named_in)
    if layout in _VOLUMES:
        raise InputError(f"{root} has no dataset.json with 'labels' and channels, as layout {layout} needs.")
    file = DatasetFile() if named_in is None else parse_file(value, named_in)
    return _of_file(root, file, named_in, layout, scratch)


def _of_file(root: Path, file: DatasetFile, named_in: Path | None, layout: str, scratch: Path) -> Dataset:
    if file.items is not None:
        return open_folders(root, file, layout="pairs", scratch=scratch, named_in=named_in)
    kind = layout if layout != "auto" else file.layout or _guess(root)
    if kind == "voc":
        return open_voc(root, file, scratch=scratch)
    if kind == "cityscapes":
        return open_cityscapes(root, file, scratch=scratch)
    if kind == "coco":
        return open_coco(root, file, scratch=scratch)
    if kind == "instances":
        return open_instances(root, file, scratch=scratch, named_in=named_in)
    if kind == "geotiff":
        return open_geotiff(root, file, scratch=scratch, named_in=named_in)
    if kind in _VOLUMES:
        raise InputError(f"{named_in}: layout {kind} needs 'labels' and 'channel_names' (or 'modality').")
    return open_folders(root, file, layout="pairs", scratch=scratch, named_in=named_in)


def _speaks_of_volumes(value: dict[str, Any]) -> bool:
    return "labels" in value and ("channel_names" in value or "modality" in value)


def _guess(root: Path) -> Layout:
    if looks_like_instances(root):
        return "instances"
    if find_voc(root) is not None:
        return "voc"
    if looks_like_cityscapes(root):
        return "cityscapes"
    if coco_manifests(root):
        return "coco"
    return "geotiff" if looks_like_geotiff(root) else "pairs"
