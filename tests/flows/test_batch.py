"""Many images with one command: each in its folder, bad ones cost themselves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio


def image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", driver="GTiff", width=40, height=30, count=1, dtype="uint8") as file:
        file.write(np.full((1, 30, 40), value, np.uint8))


def test_a_batch_runs_all_and_goes_on(segflow: Any, make_bundle: Any, tmp_path: Path) -> None:
    model = make_bundle(channels=1)
    image(tmp_path / "in" / "2019" / "a.tif", 10)
    image(tmp_path / "in" / "2020" / "a.tif", 200)
    (tmp_path / "in" / "bad.tif").write_text("no image")
    out = tmp_path / "out"
    asked = ("batch", tmp_path / "in", "--model", model, "--out", out, "--direct", "--json")
    first = segflow(*asked)
    assert first.code == 4, first.error
    assert first.answer["count"] == {"done": 2, "failed": 1}
    status = {i["item"]: (i["status"], i["already_done"]) for i in first.answer["items"]}
    assert status == {"2019__a": ("done", False), "2020__a": ("done", False), "bad": ("failed", False)}
    assert json.loads((out / "batch.json").read_text()) == {
        k: v for k, v in first.answer.items() if k != "exit_code"
    }
    items = list(pystac.Collection.from_file(str(out / "collection.json")).get_item_links())
    assert sorted(Path(link.href).parent.name for link in items) == ["2019__a", "2020__a"]
    with rasterio.open(out / "2020__a" / "mask.tif") as mask:
        assert mask.shape == (30, 40)
    (tmp_path / "in" / "bad.tif").unlink()
    again = segflow(*asked)
    assert (again.code, again.answer["status"]) == (0, "done")
    assert all(i["already_done"] for i in again.answer["items"])


def test_a_first_item_that_is_refused_costs_itself_alone(
    segflow: Any, make_bundle: Any, tmp_path: Path
) -> None:
    image(tmp_path / "in" / "b.tif", 10)
    (tmp_path / "in" / "a.tif").write_text("no image")
    asked = ("batch", tmp_path / "in", "--model", make_bundle(channels=1), "--out", tmp_path / "new" / "out")
    done = segflow(*asked, "--direct", "--json")
    assert (done.code, done.answer["count"]) == (4, {"done": 1, "failed": 1})


def test_items_shows_what_would_run(segflow: Any, make_bundle: Any, tmp_path: Path) -> None:
    image(tmp_path / "in" / "x" / "a.tif", 1)
    shown = segflow("items", tmp_path / "in", "--model", make_bundle(channels=1), "--json")
    assert shown.code == 0, shown.error
    assert [i["item"] for i in shown.answer["items"]] == ["x/a"]
    nothing = segflow("items", tmp_path / "none", "--model", make_bundle(channels=1))
    assert nothing.code == 3
    assert len(nothing.complaints) == 1
