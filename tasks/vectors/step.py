"""The vectors step: polygons beside the mask of a run, or later beside a published one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import InputError, OutputError
from tasks.files import atomic_write
from tasks.imagery.formats import format_named
from tasks.imagery.protocol import ImageInfo
from tasks.planning.outputs import Outputs, Vectors
from tasks.publishing.publish import RECORD
from tasks.vectors.files import NAMES
from tasks.work import WorkFolder

if TYPE_CHECKING:
    from tasks.vectors.mask import Meaning

MASK, TABLE, SUMMARY, STAC = "mask.tif", "regions.parquet", "summary.json", "stac.json"


def check_vectors(outputs: Outputs, info: ImageInfo) -> None:
    """Refuses polygons that an image cannot have.

    Raises:
        InputError: A volume, or a raster whose mask is no GeoTIFF.
        UsageError: GeoJSON of a raster without CRS.
    """
    if not outputs.vectors:
        return
    if info.kind != "raster" or format_named(info.format).mask != "cog":
        raise InputError(
            f"{info.source} is a volume and polygons are made of rasters alone: leave --vectors out, the regions "
            "are in regions.csv"
            if info.kind != "raster"
            else f"the mask of {info.source} is no GeoTIFF, of which polygons are made: leave --vectors out"
        )
    if "geojson" in outputs.vectors:
        from tasks.vectors.geojson import check_crs

        check_crs(info)


def missing_vectors(outputs: Outputs, record: dict[str, Any]) -> tuple[Vectors, ...]:
    """Formats asked for that a published result does not hold as they are asked for."""
    held = record.get("vectors") or {}
    like = {"simplify": outputs.simplify, "min_size": outputs.min_size}
    return tuple(f for f in outputs.vectors if not like.items() <= held.get(f, {}).items())


def vectorise_item(work: WorkFolder, outputs: Outputs) -> dict[str, Any]:
    """Writes the polygons of a run whose mask and regions lie in its result folder.

    Returns:
        For the record, by format: what was written, and the sums that were checked.

    Raises:
        OutputError: A file cannot be written, or does not match the mask.
    """
    from tasks.planning.plan import Plan
    from tasks.vectors.mask import Meaning

    card = Plan.load(work.plan).card
    meaning = Meaning({c.code: c.name for c in card.classes if c.region}, card.connectivity == "full")
    return _make(work.result, outputs, outputs.vectors, meaning)


def add_vectors(work: WorkFolder, outputs: Outputs, record: dict[str, Any]) -> dict[str, Any]:
    """Writes polygons into a published result, from its own mask; nothing is predicted again.

    The record forgets a file before it is replaced and learns it when it is there, so that a kill in
    between leaves a complete result without it.

    Args:
        work: The item's folders.
        outputs: What is asked for.
        record: The published record.

    Returns:
        The new record.

    Raises:
        OutputError: A file cannot be written, or does not match the mask.
    """
    from tasks.reports.stac import add_assets
    from tasks.vectors.mask import mask_info, meaning_of

    folder, formats = work.final, missing_vectors(outputs, record)
    names = {NAMES[f] for f in formats}
    if names & record["files"].keys():
        files = {n: size for n, size in record["files"].items() if n not in names}
        kept = {f: v for f, v in (record.get("vectors") or {}).items() if f not in formats}
        record = {**record, "files": files, "vectors": kept}
        _write_record(folder, record)
    mask = folder / MASK
    meaning = meaning_of(mask, mask_info(mask), codes=(), connectivity=None)
    made = _make(folder, outputs, formats, meaning)
    if (folder / STAC).is_file():
        add_assets(folder, sorted(names))
    written = [*names, *({STAC} & record["files"].keys())]
    sizes = {n: (folder / n).stat().st_size for n in written}
    record = {**record, "vectors": {**(record.get("vectors") or {}), **made}}
    record["files"] = dict(sorted({**record["files"], **sizes}.items()))
    _write_record(folder, record)
    return record


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    with atomic_write(folder / RECORD) as stream:
        stream.write(json.dumps(record, indent=1).encode())


def _make(folder: Path, outputs: Outputs, formats: tuple[Vectors, ...], meaning: Meaning) -> dict[str, Any]:
    import pyarrow.parquet as pq

    from tasks.vectors.make import make_polygons
    from tasks.vectors.mask import mask_info

    columns = ["id", "class", "code", "pixels", "area_m2", "mean_confidence", "touches_border"]
    held = set(pq.read_schema(folder / TABLE).names)
    table = pq.read_table(folder / TABLE, columns=[c for c in columns if c in held])
    info = mask_info(folder / MASK)
    targets = {f: folder / NAMES[f] for f in formats}
    made = make_polygons(folder / MASK, info, meaning, targets, outputs=outputs, table=table)
    _check_summary(folder, made)
    return {f: {"file": NAMES[f], **made} for f in formats}


def _check_summary(folder: Path, made: dict[str, Any]) -> None:
    """The counts of the polygons are those of the summary."""
    summary = json.loads((folder / SUMMARY).read_bytes())
    said = {c["code"]: (c["pixels"], c["regions"]) for c in summary["classes"]}
    for c in made["classes"]:
        if said[c["code"]] != (c["pixels"], c["regions"]):
            raise OutputError(
                f"{folder / SUMMARY} counts {said[c['code']]} pixels and regions of {c['name']} but the polygons "
                f"{(c['pixels'], c['regions'])}: one of the files was changed; run again with --force"
            )
