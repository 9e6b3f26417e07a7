"""A data set that grows by labelled items and never loses what a person corrected.

``labels.json`` keeps the digest of every mask as it was written; a mask that is no longer that file
was corrected, and stays.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from segmodels.bundles.card import Card
from tasks.codes import codes_of
from tasks.errors import InputError
from tasks.files import atomic_write, file_digest
from tasks.labelling.files import place_labels, place_mask, place_raster, place_volume
from tasks.publishing.publish import RECORD, read_record

Outcome = Literal["written", "unchanged", "corrected"]
FILE, STATE, REVIEW = "dataset.json", "labels.json", "review.csv"
#: Least sure regions that the review lists of an item.
LISTED = 100


@dataclass(frozen=True)
class LabelledSet:
    """A data set's folder.

    Attributes:
        root: It.
        card: Of the bundle that labels; with its classes and channels.
        volumes: Whether items are NIfTI volumes (nnU-Net's layout), else GeoTIFF pairs.
    """

    root: Path
    card: Card
    volumes: bool

    @property
    def runs(self) -> Path:
        """Where the runs leave their results, report and all."""
        return self.root / "runs"

    def mask_path(self, item: str) -> Path:
        """An item's mask in the data set."""
        name = f"labelsTr/{item}.nii.gz" if self.volumes else f"masks/{item}.tif"
        return self.root / name

    def check(self) -> None:
        """Refuses a folder that holds another data set.

        Raises:
            InputError: Says what differs.
        """
        path = self.root / FILE
        if not path.exists():
            return
        try:
            held = json.loads(path.read_bytes())
        except ValueError as error:
            raise InputError(f"{path} is not JSON: correct it, or give another --out") from error
        mine = self._description(items=0)
        for key in ("labels", "channel_names") if self.volumes else ("layout", "classes", "channels"):
            if held.get(key) != mine[key]:
                raise InputError(
                    f"{path} has other {key} than model {self.card.name}: give another --out, or the model that "
                    "labelled it"
                )

    def add(self, item: str, image: Path) -> Outcome:
        """Takes a finished run's mask, and the image, into the data set.

        Raises:
            InputError: The run has no result.
            OutputError: A file cannot be written.
        """
        folder, target, state = self.runs / item, self.mask_path(item), self._state()
        record = read_record(folder / RECORD)
        if record is None:
            raise InputError(f"{folder} holds no result: label {image} again")
        if "t" in record["input"]["axes"]:
            raise InputError(f"{image} is a series of volumes: label its frames as files of their own")
        source = folder / ("mask.nii.gz" if self.volumes else "mask.tif")
        digest, known = file_digest(source), state.get(item)
        if target.exists() and (known is None or known["written"] != file_digest(target)):
            return "corrected"
        outcome: Outcome = "written"
        if target.exists() and known is not None and known["mask"] == digest:
            outcome = "unchanged"
        else:
            self._place(item, image, source, target)
        state[item] = {
            "image": str(image.resolve()),
            "bundle": f"{record['bundle']['name']} {record['bundle']['digest']}",
            "status": record["status"],
            "mask": digest,
            "written": file_digest(target),
        }
        _write_json(self.root / STATE, state)
        return outcome

    def finish(self) -> None:
        """Writes ``dataset.json`` and the review of all items.

        Raises:
            OutputError: They cannot be written.
        """
        state = self._state()
        _write_json(self.root / FILE, self._description(items=len(state)))
        parts = [self._least_sure(item) for item in sorted(state)]
        table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        with atomic_write(self.root / REVIEW) as stream:
            stream.write(table.to_csv(index=False).encode())

    def _place(self, item: str, image: Path, source: Path, target: Path) -> None:
        if self.volumes:
            place_volume(image, self.root / "imagesTr", item)
            place_labels(source, target, self._table())
        else:
            place_raster(image, self.root / "images" / f"{item}.tif")
            place_mask(source, target)

    def _table(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """nnU-Net wants 0, 1, … and what is unknown last; whatever has no class is unknown."""
        codes = codes_of(self.card)
        table = np.full(1 << (8 * codes.dtype.itemsize), len(codes.classes), np.int64)
        table[list(codes.classes)] = np.arange(len(codes.classes))
        return table

    def _least_sure(self, item: str) -> pd.DataFrame:
        """Regions of a run by rising mean confidence, with their boxes."""
        table = pq.read_table(self.runs / item / "regions.parquet").to_pandas()
        boxes = [c for c in table.columns if c.startswith("bbox_")]
        table = table.sort_values(["mean_confidence", "id"], kind="stable").head(LISTED)
        table = table[["id", "class", "pixels", "mean_confidence", "touches_border", *boxes]]
        table = table.rename(columns={"id": "region"})
        table.insert(0, "item", item)
        return table

    def _state(self) -> dict[str, dict[str, str]]:
        path = self.root / STATE
        try:
            held: dict[str, dict[str, str]] = json.loads(path.read_bytes()) if path.exists() else {}
        except ValueError as error:
            raise InputError(
                f"{path} is not JSON: restore it, or every mask would pass for unknown"
            ) from error
        return held

    def _description(self, *, items: int) -> dict[str, Any]:
        card, codes = self.card, codes_of(self.card)
        about = (
            f"Labelled by segflow with {card.name} {card.version}; see {REVIEW} for where it is least sure."
        )
        if self.volumes:
            names = {c.name: i for i, c in enumerate(card.classes)}
            return {
                "channel_names": {str(i): c.name for i, c in enumerate(card.channels)},
                "labels": {**names, "ignore": len(names)},
                "numTraining": items,
                "file_ending": ".nii.gz",
                "description": about,
            }
        return {
            "layout": "geotiff",
            "description": about,
            "classes": [{"name": c.name, "code": c.code, "colour": c.colour} for c in card.classes],
            "ignore": [codes.nodata, codes.failed, codes.unobserved],
            "channels": [c.name for c in card.channels],
        }


def _write_json(path: Path, value: Any) -> None:
    with atomic_write(path) as stream:
        stream.write((json.dumps(value, indent=1) + "\n").encode())
