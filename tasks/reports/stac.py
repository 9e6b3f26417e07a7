"""``stac.json``: the run as a STAC item with projection, classification, file, processing and MLM fields."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.files import atomic_write
from tasks.imagery.protocol import ImageInfo
from tasks.reports import words
from tasks.reports.footprint import footprint

if TYPE_CHECKING:
    import pystac

PROCESSING = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"

_ASSETS = (
    (
        "mask",
        "mask.tif",
        "Class of every pixel",
        "image/tiff; application=geotiff; profile=cloud-optimized",
        "data",
    ),
    ("regions", "regions.parquet", "Every region, measured", "application/vnd.apache.parquet", "data"),
    ("regions-csv", "regions.csv", "Every region, measured", "text/csv", "data"),
    ("polygons", "polygons.parquet", "Every region's polygon", "application/vnd.apache.parquet", "data"),
    ("polygons-gpkg", "regions.gpkg", "Every region's polygon", "application/geopackage+sqlite3", "data"),
    ("polygons-geojson", "regions.geojson", "Every region's polygon", "application/geo+json", "data"),
    (
        "probabilities",
        "probabilities.tif",
        "Probability of every class",
        "image/tiff; application=geotiff; profile=cloud-optimized",
        "data",
    ),
    ("style", "mask.qml", "Colours for QGIS", "application/xml", "metadata"),
    ("summary", "summary.json", "Sizes per class", "application/json", "metadata"),
    ("report", "report.html", "Report for people", "text/html", "overview"),
    ("overview", "overview.png", "Input and mask", "image/png", "thumbnail"),
)


def write_stac(
    directory: Path, *, record: dict[str, Any], summary: dict[str, Any], image_info: ImageInfo
) -> None:
    """Writes ``stac.json`` for what already lies in ``directory``.

    Files that are not there are left out. The observation date is read from the input's name
    where that holds exactly one date; otherwise the item is dated by its own making, and its
    description says so.

    Args:
        directory: Where the result lies.
        record: What ``run.json`` will hold.
        summary: ``summary.json``.
        image_info: The input.
    """
    import pystac
    from pystac.extensions.file import FileExtension

    place = footprint(image_info.grid, image_info.shape)
    finished = dt.datetime.fromisoformat(record["finished"]).astimezone(dt.UTC)
    date = date_in(Path(record["input"]["path"]).name, latest=finished.date())
    bundle = record["bundle"]
    what = f"Segmentation of {Path(record['input']['path']).name} by {bundle['name']} {bundle['version']}."
    if date is None:
        what += " The input's date is not known: the item is dated by when it was made."
    properties = _properties(record, summary, description=what)
    item = pystac.Item(
        id=record["item"],
        geometry=place.geometry if place else None,
        bbox=place.bbox if place else None,
        datetime=dt.datetime.combine(date, dt.time(), dt.UTC) if date else finished,
        start_datetime=dt.datetime.combine(date, dt.time(), dt.UTC) if date else None,
        end_datetime=dt.datetime.combine(date, dt.time(23, 59, 59), dt.UTC) if date else None,
        properties=properties,
        stac_extensions=[PROCESSING, CLASSIFICATION, MLM, RASTER],
    )
    _project(item, image_info)
    FileExtension.add_to(item)
    for key, asset in _assets(directory).items():
        item.add_asset(key, pystac.Asset.from_dict(asset))
    ground = _ground(image_info)
    if "mask" in item.assets:
        item.assets["mask"].extra_fields |= _mask_fields(record, summary) | ground
    if "probabilities" in item.assets:
        item.assets["probabilities"].extra_fields |= _probability_fields(record) | ground
    item.add_asset(
        "provenance",
        pystac.Asset(
            "./run.json", "Provenance and timings", media_type="application/json", roles=["metadata"]
        ),
    )
    item.add_asset("model", _model(bundle))
    # Written by hand: pystac would make the paths absolute or resolve them against a catalogue.
    data = item.to_dict(include_self_link=False, transform_hrefs=False)
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (directory / "stac.json").write_text(text, encoding="utf-8")


def add_assets(directory: Path, names: Collection[str]) -> None:
    """Adds files to the item that lies beside them.

    Args:
        directory: Where the result lies.
        names: Files that were added or replaced.

    Raises:
        OutputError: ``stac.json`` cannot be written.
    """
    path = directory / "stac.json"
    item = json.loads(path.read_text("utf-8"))
    found = _assets(directory, names)
    item["assets"] = {**item["assets"], **found}
    with atomic_write(path) as stream:
        stream.write((json.dumps(item, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _assets(directory: Path, names: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
    """Assets of the files that are there, of ``names`` or all."""
    return {
        key: {
            "href": f"./{name}",
            "type": media_type,
            "title": title,
            "file:checksum": _multihash(directory / name),
            "file:size": (directory / name).stat().st_size,
            "roles": [role],
        }
        for key, name, title, media_type, role in _ASSETS
        if (names is None or name in names) and (directory / name).is_file()
    }


def date_in(name: str, *, latest: dt.date) -> dt.date | None:
    """The one date (YYYYMMDD, YYYY-MM-DD or YYYY_MM_DD) that a file name holds.

    Args:
        name: File name.
        latest: Later dates are taken for something else.

    Returns:
        None where there is no date, or more than one.
    """
    found = set()
    for y, _, m, d in re.findall(r"(?<!\d)((?:19|20)\d\d)([-_]?)(\d\d)\2(\d\d)(?!\d)", name):
        try:
            date = dt.date(int(y), int(m), int(d))
        except ValueError:
            continue
        if dt.date(1950, 1, 1) <= date <= latest:
            found.add(date)
    return found.pop() if len(found) == 1 else None


def _properties(record: dict[str, Any], summary: dict[str, Any], *, description: str) -> dict[str, Any]:
    bundle, engine = record["bundle"], record["engine"]
    name = re.sub(r"[^a-zA-Z0-9_.\- ]", "-", bundle["name"]).strip("-_. ")
    axes = ["batch", *("depth", "height", "width")[-len(record["parameters"]["tile"]) :], "channel"]
    tile = [int(n) for n in record["parameters"]["tile"]]
    channels = [str(c) for c in record["input"]["channels"]]
    return {
        "title": record["item"],
        "description": description,
        "created": record["finished"],
        "bands": [{"name": c} for c in channels],
        "processing:software": {"segflow": str(record["segflow"]), engine["name"]: str(engine["library"])},
        "processing:lineage": f"Input {record['input']['digest']}, bundle {bundle['digest']}, "
        f"parameters {record['parameters_digest']}, result version {record['result_version']}.",
        "mlm:name": name if re.match(r"[a-zA-Z].+", name) else f"model-{name}",
        "mlm:architecture": str(bundle.get("architecture", "not stated")),
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": str(engine["name"]),
        "mlm:input": [
            {
                "name": "tile",
                "bands": channels,
                "input": {"shape": [-1, *tile, len(channels)], "dim_order": axes, "data_type": "float32"},
            }
        ],
        "mlm:output": [
            {
                "name": "class probabilities",
                "tasks": ["semantic-segmentation"],
                "result": {
                    "shape": [-1, *tile, len(bundle["classes"])],
                    "dim_order": [*axes[:-1], "class"],
                    "data_type": "float32",
                },
                "classification:classes": _classes(record, summary, shares=False),
            }
        ],
        "segflow:status": record["status"],
        "segflow:input_digest": record["input"]["digest"],
        "segflow:bundle_digest": bundle["digest"],
        "segflow:parameters_digest": record["parameters_digest"],
        "segflow:result_version": record["result_version"],
    }


def _classes(record: dict[str, Any], summary: dict[str, Any], *, shares: bool) -> list[dict[str, Any]]:
    """Class objects of the classification extension, with counts where they describe the mask."""
    total = int(summary["footprint"]["pixels"])
    counts = {int(c["code"]): int(c["pixels"]) for c in summary["classes"]}
    out, taken = [], set()
    for c in record["bundle"]["classes"]:
        name = re.sub(r"[^0-9A-Za-z_-]+", "-", c["name"]).strip("-") or "class"
        name = f"{name}-{c['code']}" if name in taken else name
        taken.add(name)
        entry = {
            "value": int(c["code"]), "name": name, "title": c["name"], "color_hint": c["colour"][1:].upper()
        }  # fmt: skip
        if shares and int(c["code"]) in counts:
            entry |= _count(counts[int(c["code"])], total)
        out.append(entry)
    if shares:
        for name, code in words.reserved_codes(record).items():
            entry = {"value": code, "name": name, "title": name, "nodata": True}
            out.append(entry | _count(int(summary[name]["pixels"]), total))
    return out


def _count(pixels: int, total: int) -> dict[str, Any]:
    return {"count": pixels, "percentage": round(100.0 * pixels / total, 6) if total else 0.0}


def _mask_fields(record: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    nodata = words.reserved_codes(record)["nodata"]
    counts = {int(c["code"]): int(c["pixels"]) for c in summary["classes"]}
    counts |= {code: int(summary[name]["pixels"]) for name, code in words.reserved_codes(record).items()}
    seen = [code for code, pixels in counts.items() if pixels and code != nodata]
    valid = sum(counts[code] for code in seen)
    band: dict[str, Any] = {"name": "class"}
    if seen:
        band["statistics"] = {
            "minimum": min(seen),
            "maximum": max(seen),
            "mean": sum(code * counts[code] for code in seen) / valid,
            "count": valid,
            "valid_percent": round(100 * valid / sum(counts.values()), 6),
        }
    return {
        "data_type": "uint16" if nodata > 255 else "uint8",
        "nodata": nodata,
        "bands": [band],
        "classification:classes": _classes(record, summary, shares=True),
    }


def _probability_fields(record: dict[str, Any]) -> dict[str, Any]:
    held = record["probabilities"]
    scale = {"raster:scale": 1 / 254} if held["dtype"] == "uint8" else {}
    return {
        "data_type": "uint8" if held["dtype"] == "uint8" else "float32",
        "nodata": 255 if held["dtype"] == "uint8" else "nan",
        "bands": [{"name": name, "description": f"probability of {name}", **scale} for name in held["bands"]],
    }


def _ground(info: ImageInfo) -> dict[str, Any]:
    """How a pixel samples the ground; its size where it is known in metres."""
    from tasks.evaluation.grids import spacing_of

    steps, unit = spacing_of(info, axes=2)
    size = {"raster:spatial_resolution": max(steps)} if unit == "m" else {}
    return {"raster:sampling": "area", **size}


def _model(bundle: dict[str, Any]) -> pystac.Asset:
    """The model, named by its digest (RFC 6920): it does not travel with its results."""
    import pystac

    algorithm, _, digest = str(bundle["digest"]).partition(":")
    coded = base64.urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b"=").decode()
    name = {"sha256": "sha-256"}.get(algorithm, algorithm)
    return pystac.Asset(
        f"ni:///{name};{coded}",
        title=f"{bundle['name']} {bundle['version']}",
        description=bundle.get("description") or None,
        roles=["mlm:model"],
        extra_fields={"mlm:artifact_type": "segflow bundle"},
    )


def _project(item: pystac.Item, info: ImageInfo) -> None:
    from pyproj import CRS
    from pystac.extensions.projection import ProjectionExtension

    projection = ProjectionExtension.ext(item, add_if_missing=True)
    projection.shape = [int(n) for n in info.shape[-2:]]
    projection.transform = [float(v) for v in info.grid["transform"][:6]]
    if info.grid.get("crs"):
        crs = CRS.from_wkt(info.grid["crs"])
        authority = crs.to_authority()
        if authority:
            item.properties["proj:code"] = ":".join(authority)
        else:
            item.properties["proj:code"] = None
            projection.wkt2 = crs.to_wkt("WKT2_2019")


def _multihash(path: Path) -> str:
    """SHA-256 as a multihash: code 0x12, length 0x20, digest."""
    with path.open("rb") as file:
        return "1220" + hashlib.file_digest(file, "sha256").hexdigest()
