"""OME-Zarr (NGFF 0.4 on Zarr 2, 0.5 on Zarr 3), and plain Zarr arrays whose axes can be known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.errors import InputError
from tasks.imagery.source import Source
from tasks.imagery.volume.arrays import AXES, ArrayImage, Named
from tasks.imagery.wanted import Wanted

_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
#: Axes of an array that does not name them, by their number.
_CUSTOM = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr group or array."""
    return any((folder / name).is_file() for name in _METADATA)


def open_ome_zarr(source: Source, *, scratch: Path, wanted: Wanted) -> ArrayImage:
    """Opens the full resolution of an OME-Zarr image, or the level, image or array that ``--layer`` names.

    Raises:
        InputError: It cannot be used as an image; the sentence says why.
    """
    import zarr

    path = source.local
    if not path.is_dir():
        raise InputError(f"{path} is a file and Zarr images are folders; unpack it, or name the folder.")
    layer = (wanted.reading.layer or "").strip("/")
    if ".." in Path(layer).parts or Path(layer).is_absolute():
        raise InputError(f"--layer {layer} leads outside {path}; name an image or array inside it.")
    try:
        root = zarr.open(str(path), mode="r")
        group, name = _found(root, path, layer)
        named, extra = _named(group, name, path)
    except InputError:
        raise
    except Exception as e:  # zarr and its codecs have errors of many kinds
        reason = " ".join(str(e).split())[:160] or type(e).__name__
        raise InputError(f"{path} cannot be opened as Zarr ({reason}); export it again.") from e
    return ArrayImage(named, source=source, format="ome-zarr", reading=wanted.reading, extra=extra)


def _metadata(group: Any) -> dict[str, Any]:
    """The OME metadata of a group: under ``ome`` since 0.5, at the top before."""
    attributes = dict(group.attrs)
    ome = attributes.get("ome")
    return dict(ome) if isinstance(ome, dict) else attributes


def _found(root: Any, path: Path, layer: str) -> tuple[Any, str]:
    """The group of an image with the name of its array, or an array alone with an empty name."""
    import zarr

    if isinstance(root, zarr.Array):
        if layer:
            raise InputError(f"{path} is one array and has no layer {layer}; leave --layer out.")
        return root, ""
    if layer:
        parent, _, last = layer.rpartition("/")
        above = root[parent] if parent and parent in root else root if not parent else None
        if above is not None and last in _levels(above):
            return above, last
        if layer not in root:
            raise InputError(f"{path} has no layer {layer}; there {_there(root)}.")
        return _found(root[layer], path, "")
    levels = _levels(root)
    if levels:
        return root, levels[0]
    images = [name for name in sorted(root.group_keys()) if _levels(root[name])]
    arrays = sorted(root.array_keys())
    if len(images) == 1 and not arrays:
        return _found(root[images[0]], path, "")
    raise InputError(f"{path} holds no image at its top; choose one with --layer: there {_there(root)}.")


def _levels(group: Any) -> list[str]:
    import zarr

    if isinstance(group, zarr.Array):
        return []
    scales = _metadata(group).get("multiscales")
    if not isinstance(scales, list) or not scales:
        return []
    return [str(d["path"]) for d in scales[0].get("datasets", [])]


def _there(root: Any) -> str:
    names = sorted({*_levels(root), *root.array_keys(), *root.group_keys()})
    return f"are {', '.join(names[:12])}" if names else "is nothing"


def _named(group: Any, name: str, path: Path) -> tuple[Named, dict[str, Any]]:
    array = group[name] if name else group
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise InputError(f"{path} names an array outside itself ({name}); export it again.")
    _check_codecs(array, path)
    version = array.metadata.zarr_format
    if not name:
        return _plain(array, path), {"version": "0.5" if version == 3 else "0.4"}
    about = _metadata(group)
    scales = about["multiscales"][0]
    stated = str(about.get("version") or scales.get("version") or "")
    raw = scales.get("axes") or list(AXES[-array.ndim :])
    described = [{"name": a} if isinstance(a, str) else dict(a) for a in raw]
    axes = "".join(str(a["name"]).lower() for a in described)
    if len(axes) != array.ndim or len(set(axes)) < len(axes) or not {"y", "x"} <= set(axes) <= set(AXES):
        raise InputError(
            f"{path} has the axes {', '.join(str(a['name']) for a in described)} and only t, c, z, y, x are known "
            "here; export it again with these."
        )
    dataset = next(d for d in scales["datasets"] if str(d["path"]) == name)
    scale, origin = _transforms([dataset, scales], array.ndim, path)
    units = {str(a["unit"]) for a in described if a["name"] in ("z", "y", "x") and a.get("unit")}
    if len(units) > 1:
        raise InputError(f"{path} counts its axes in {', '.join(sorted(units))}; write it in one unit.")
    labels = [str(c.get("label") or "") for c in about.get("omero", {}).get("channels", [])]
    named = Named(array, axes, scale, origin, next(iter(units), None), tuple(labels))
    version_said = stated if stated in ("0.4", "0.5") else "0.5" if version == 3 else "0.4"
    return named, {"version": version_said}


def _transforms(
    holders: list[dict[str, Any]], ndim: int, path: Path
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Step and origin per axis; the level's own transformations come first, then those of all levels."""
    scale, origin = [1.0] * ndim, [0.0] * ndim
    for holder in holders:
        for step in holder.get("coordinateTransformations", []):
            kind = str(step.get("type"))
            values = step.get(kind)
            if kind == "identity":
                continue
            if kind not in ("scale", "translation") or not isinstance(values, list) or len(values) != ndim:
                raise InputError(
                    f"{path} is placed by a transformation ({kind}) that is not known here; export it with scale and "
                    "translation."
                )
            if kind == "scale":
                scale = [s * float(v) for s, v in zip(scale, values, strict=True)]
                origin = [o * float(v) for o, v in zip(origin, values, strict=True)]
            else:
                origin = [o + float(v) for o, v in zip(origin, values, strict=True)]
    return tuple(scale), tuple(origin)


def _plain(array: Any, path: Path) -> Named:
    """An array without OME metadata: its axes by their names, or by their number."""
    said = getattr(array.metadata, "dimension_names", None) or dict(array.attrs).get("_ARRAY_DIMENSIONS")
    if said and all(said):
        axes = "".join(str(n).lower()[0] if len(str(n)) == 1 else "?" for n in said)
    else:
        axes = _CUSTOM.get(array.ndim, "?")
    if "?" in axes or len(set(axes)) < len(axes) or not {"y", "x"} <= set(axes) <= set(AXES):
        raise InputError(
            f"{path} has {array.ndim} axes ({', '.join(map(str, said)) if said else 'without names'}) and their "
            "meaning cannot be known; write it as OME-Zarr with the axes t, c, z, y, x."
        )
    return Named(array, axes, (1.0,) * array.ndim, (0.0,) * array.ndim, None)


def _check_codecs(array: Any, path: Path) -> None:
    """Refuses arrays whose decoding would run code that they carry."""
    import zarr

    if not isinstance(array, zarr.Array):
        raise InputError(f"{path} has a folder where an array is needed; name an array with --layer.")
    metadata = array.metadata
    used = [*(getattr(metadata, "filters", None) or ()), getattr(metadata, "compressor", None)]
    if array.dtype.kind == "O" or any(getattr(c, "codec_id", "") == "pickle" for c in used):
        raise InputError(f"{path} holds Python objects, which are never read; export it as numbers.")
