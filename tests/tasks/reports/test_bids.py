"""The BIDS-derivatives sidecar and label table."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.reports.bids import write_bids


def test_label_table(brain: Any, tmp_path: Path) -> None:
    write_bids(tmp_path, record=brain.record, summary=brain.summary)
    table = pd.read_csv(tmp_path / "mask.tsv", sep="\t")
    assert table.columns.tolist() == ["index", "name", "abbreviation", "color"]
    assert table["index"].tolist() == [0, 1, 2]
    assert table["name"].tolist() == ["background", "grey matter", "white matter"]
    assert table["abbreviation"].tolist() == ["BAC", "GM", "WM"]
    assert table["color"].tolist() == ["#000000", "#d1495b", "#edae49"]


def test_codes_without_a_class_are_explained_where_they_occur(brain: Any, tmp_path: Path) -> None:
    summary = copy.deepcopy(brain.summary)
    summary["failed"]["pixels"] = 5
    write_bids(tmp_path, record=brain.record, summary=summary)
    table = pd.read_csv(tmp_path / "mask.tsv", sep="\t").set_index("index")
    assert table.loc[254, "name"].startswith("failed")
    assert 255 not in table.index


def test_hostile_names_do_not_break_the_table(brain: Any, tmp_path: Path) -> None:
    record = copy.deepcopy(brain.record)
    for c, name in zip(record["bundle"]["classes"], ["a\tb\n", "grey matter", "Grey Mass"], strict=True):
        c["name"] = name
    write_bids(tmp_path, record=record, summary=brain.summary)
    table = pd.read_csv(tmp_path / "mask.tsv", sep="\t")
    assert table["name"].tolist() == ["a b", "grey matter", "Grey Mass"]
    assert table["abbreviation"].is_unique


def test_sidecar(brain: Any, tmp_path: Path) -> None:
    write_bids(tmp_path, record=brain.record, summary=brain.summary)
    data = json.loads((tmp_path / "mask.json").read_text("utf-8"))
    assert data["SpatialReference"] == "orig"
    assert data["Manual"] is False
    assert data["Sources"] == ["head.nii.gz"]
    assert data["GeneratedBy"][0] == {
        "Name": "segflow",
        "Version": "0.1.0",
        "Description": "tiled segmentation",
    }
