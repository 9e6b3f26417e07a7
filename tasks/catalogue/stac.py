"""``collection.json``: the STAC items of an output folder as one collection."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.catalogue.items import published
from tasks.errors import InputError
from tasks.files import atomic_write

NAME, ITEM = "collection.json", "stac.json"
_WORLD = [-180.0, -90.0, 180.0, 90.0]


@dataclass
class _Extent:
    """What all items cover together."""

    boxes: list[float] | None = None
    first: str | None = None
    last: str | None = None
    bundles: set[str] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)

    def add(self, item: dict[str, Any], record: dict[str, Any]) -> None:
        """Takes one more item."""
        properties = item["properties"]
        box = item.get("bbox")
        if box is not None:
            if box[0] > box[2]:  # across the antimeridian
                box = [-180.0, box[1], 180.0, box[3]]
            held = self.boxes or box
            self.boxes = [*map(min, held[:2], box[:2]), *map(max, held[2:], box[2:])]
        start = properties.get("start_datetime") or properties["datetime"]
        end = properties.get("end_datetime") or properties["datetime"]
        self.first = min(self.first or start, start)
        self.last = max(self.last or end, end)
        self.bundles.add(f"{record['bundle']['name']} {record['bundle']['version']}")
        self.codes |= {properties["proj:code"]} if properties.get("proj:code") else set()


def write_collection(out: Path, *, title: str | None = None) -> int:
    """Writes ``collection.json`` over all items below ``out``, read one at a time; replaced as a whole.

    Items stay as they are: the collection points to them by relative links.

    Args:
        out: An output folder.
        title: Of the collection; by default the folder's name.

    Returns:
        Items in it.

    Raises:
        InputError: No item below it has a ``stac.json``.
        OutputError: The file cannot be written.
    """
    title = title or out.resolve().name
    extent = _Extent()
    links: list[dict[str, str]] = []
    for folder, record in published(out):
        path = folder / ITEM
        if not path.is_file():
            continue
        item = json.loads(path.read_bytes())
        extent.add(item, record)
        href = "./" + path.relative_to(out).as_posix()
        links.append({"rel": "item", "href": href, "type": "application/geo+json", "title": item["id"]})
    if not links:
        raise InputError(f"{out} holds no item with a {ITEM}: segment a raster into it first")
    collection = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "".join(c if c.isalnum() or c in "-_." else "-" for c in title),
        "title": title,
        "description": f"Segmentations of {len(links)} images by {', '.join(sorted(extent.bundles))}.",
        "license": "other",
        "keywords": ["segmentation", "segflow"],
        "extent": {
            "spatial": {"bbox": [extent.boxes or _WORLD]},
            "temporal": {"interval": [[extent.first, extent.last]]},
        },
        "summaries": {"proj:code": sorted(extent.codes)} if extent.codes else {},
        "links": [{"rel": "root", "href": f"./{NAME}", "type": "application/json"}, *links],
    }
    with atomic_write(out / NAME) as stream:
        stream.write((json.dumps(collection, indent=1, ensure_ascii=False) + "\n").encode())
    return len(links)
