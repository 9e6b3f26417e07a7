"""The page stands alone, says what the data say, and lets nothing in the data act."""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio

from tasks.imagery.protocol import GdalFile
from tasks.imagery.source import Source
from tasks.reports.html import write_report

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}</style>]]>"


class Page(HTMLParser):
    """Tags with their attributes, and the text of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def report(sample: Any, directory: Path, **changes: Any) -> str:
    for name in ("mask.tif", "mask.nii.gz"):
        if (sample.directory / name).exists():
            shutil.copy(sample.directory / name, directory)
    parts = {
        "record": sample.record,
        "summary": sample.summary,
        "regions": sample.regions,
        "image": sample.image,
    }
    write_report(directory, **(parts | changes))
    return (directory / "report.html").read_text("utf-8")


@pytest.fixture(params=["earth", "brain"])
def sample(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_nothing_is_loaded_from_anywhere(sample: Any, tmp_path: Path) -> None:
    text = report(sample, tmp_path)
    page = Page(text)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    for _, attributes in page.tags:
        assert not {"href", "srcset", "action", "poster"} & set(attributes)
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
        assert not any(name.startswith("on") for name in attributes)
    assert len(text) < 2_000_000
    assert (tmp_path / "overview.png").stat().st_size < 1_500_000


def test_only_its_own_script_may_run(earth: Any, tmp_path: Path) -> None:
    text = report(earth, tmp_path)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [a["content"] for t, a in Page(text).tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}';" in (policy or "")
    assert "default-src 'none'" in (policy or "")


def test_hostile_names_stay_text(earth: Any, tmp_path: Path) -> None:
    record, summary = copy.deepcopy(earth.record), copy.deepcopy(earth.summary)
    record["item"] = record["command"] = HOSTILE
    record["input"] |= {"path": HOSTILE, "channels": [HOSTILE, "green", "blue", "nir"], "notes": [HOSTILE]}
    record["bundle"] |= {
        "name": HOSTILE,
        "version": HOSTILE,
        "description": HOSTILE,
        "scores": {HOSTILE: HOSTILE},
    }
    record["warnings"] = [HOSTILE]
    record["failed_tiles"] = [{"tile": [0, 1], "reason": HOSTILE}]
    record["statistics"][0]["channel"] = HOSTILE
    record["bundle"]["classes"] = [c | {"name": HOSTILE} for c in record["bundle"]["classes"]]
    summary["classes"] = [c | {"name": HOSTILE} for c in summary["classes"]]
    names = [HOSTILE] * len(earth.regions)
    regions = earth.regions.set_column(1, "class", pa.array(names))
    regions = regions.rename_columns(
        [f"mean_{HOSTILE}" if c == "mean_red" else c for c in regions.column_names]
    )
    text = report(earth, tmp_path, record=record, summary=summary, regions=regions)
    page, plain = Page(text), Page(report(earth, tmp_path))
    assert text.count("<script") == 1
    assert text.count("</style>") == 1
    assert all((a.get("src") or "data:").startswith("data:") for _, a in page.tags)
    assert not any(name.startswith("on") for _, a in page.tags for name in a)
    assert page.words().count("alert(1)") > 20
    assert "49" not in page.words().split("segflow report")[1][:60]
    # The same elements as before, but for the warning, the note and the failed tile.
    assert {t for t, _ in page.tags} == {t for t, _ in plain.tags}


def test_figures(earth: Any, tmp_path: Path) -> None:
    text = Page(report(earth, tmp_path)).words()
    land = int((earth.codes == 1).sum())
    assert f"{land:,}" in text
    assert f"{land * 900 / 1e6:.1f} km²" in text
    valid = int((earth.codes < 253).sum())
    assert f"{100 * land / valid:.2f} %" in text
    for term, code in (("No data", 255), ("Unobserved", 253), ("Failed", 254)):
        count = int((earth.codes == code).sum())
        assert f"{term} {count:,} {count * 9e-4:.2f} {100 * count / earth.codes.size:.2f} %" in text
    assert f"Footprint {earth.codes.size:,}" in text
    assert "Not accounted for" not in text
    assert "WGS 84 / UTM zone 14N (EPSG:32614)" in text
    for digest in ("input", "bundle"):
        assert earth.record[digest]["digest"] in text
    assert earth.record["command"] in text


def test_pixels_that_are_missing_are_not_hidden(earth: Any, tmp_path: Path) -> None:
    summary = copy.deepcopy(earth.summary)
    summary["failed"]["pixels"] -= 17
    assert "Not accounted for 17" in Page(report(earth, tmp_path, summary=summary)).words()


def test_volumes_speak_of_voxels(brain: Any, tmp_path: Path) -> None:
    text = report(brain, tmp_path)
    words = Page(text).words()
    grey = int((brain.codes == 1).sum())
    assert f"Grey matter {grey * 0.0045:.1f} mL" in words or f"grey matter {grey * 0.0045:.1f} mL" in words
    assert "Radiological convention" in words
    assert "Where every voxel went" in words
    alts = [a["alt"] for t, a in Page(text).tags if t == "img" and a["alt"]]
    assert len(alts) == 6
    assert "Input. Axial, slice 22 of 44" in alts


def test_sizes_of_a_series_are_said_to_be_sums(brain: Any, tmp_path: Path) -> None:
    summary = brain.summary | {"frames": 2}
    text = Page(report(brain, tmp_path, summary=summary)).words()
    grey = int((brain.codes == 1).sum()) * 0.0045
    assert f"{grey:.1f} mL in all 2 frames" in text
    assert f"{grey / 2:.1f} mL a frame on average" in text
    assert "Mean of a frame mL" in text
    assert "summed over all 2 frames of the series" in text
    assert "frame" not in Page(report(brain, tmp_path)).words().replace("framework", "")


def test_notes_are_no_warnings(earth: Any, tmp_path: Path) -> None:
    record = earth.record | {"notes": ["Channels are bands 1, 2."], "warnings": ["Channels are bands 1, 2."]}
    text = report(earth, tmp_path, record=record)
    assert ">Note<" in text
    assert ">Warning" not in text
    text = report(earth, tmp_path, record=record | {"warnings": [*record["warnings"], "2 tiles failed"]})
    (warned,) = re.findall(r'aria-labelledby="warnings">(.*?)</section>', text, re.S)
    assert re.findall(r"<li>(.*?)</li>", warned) == ["2 tiles failed"]


def test_seams_in_words(sample: Any, tmp_path: Path) -> None:
    text = Page(report(sample, tmp_path)).words()
    ndim = len(sample.image.info.shape)
    cell = "voxels" if ndim == 3 else "pixels"
    assert f"0.50 % of the {cell} where two tiles overlap got another class" in text
    assert "differ by 0.012 on average" in text
    assert f"{'left to right' if ndim == 3 else 'columns'} (x) 8 1,200 0.50 % 0.012 4.00 %" in text
    assert f"all {8 * ndim} {1200 * ndim:,} 0.50 % 0.012 4.00 %" in text
    assert "suspect above 3.00 % with another class, or above a mean difference of 0.05" in text


def test_the_worst_pair_of_all_axes_has_the_largest_share(earth: Any, tmp_path: Path) -> None:
    """Though a pair along the other axis has more pixels of another class, as it shares more of them."""
    seams = copy.deepcopy(earth.record["seams"])
    seams["axes"][0]["worst"] |= {"pixels": 1000, "other_class": 0.0063}
    seams["axes"][1]["worst"] |= {"pixels": 100, "other_class": 0.0100}
    text = report(earth, tmp_path, record=earth.record | {"seams": seams})
    (table,) = re.findall(r'<table class="seams">(.*?)</table>', text, re.S)
    assert re.findall(r'<td class="n">([^<]*)</td></tr>', table) == ["0.63 %", "1.00 %", "1.00 %"]


def test_seams_that_agree_and_seams_that_are_not_there(earth: Any, tmp_path: Path) -> None:
    same = earth.record["seams"] | {"other_class": 0.0, "difference": 0.0}
    text = Page(report(earth, tmp_path, record=earth.record | {"seams": same})).words()
    assert "Neighbouring tiles agree" in text
    none = same | {"pairs": 0, "pixels": 0, "other_class": None, "difference": None, "axes": []}
    text = Page(report(earth, tmp_path, record=earth.record | {"seams": none})).words()
    assert "no seam could be compared" in text
    assert "Pairs of tiles" not in text


def test_the_largest_regions_first(earth: Any, tmp_path: Path) -> None:
    n = 1000
    rng = np.random.default_rng(2)
    pixels = rng.permutation(np.arange(1, n + 1))
    regions = pa.table(
        {
            "id": np.arange(1, n + 1),
            "class": ["lake"] * n,
            "code": [2] * n,
            "pixels": pixels,
            "area_m2": pixels * 9e5,
        }
        | {"lon": np.zeros(n), "lat": np.zeros(n), "touches_border": [False] * n}
    )
    text = report(earth, tmp_path, regions=regions)
    body = text.split('class="sortable"')[1].split("<tbody>")[1].split("</tbody>")[0]
    sizes = [
        float(k)
        for k in re.findall(r'data-key="([0-9.]+)">[0-9.,]+</td><td class="n" data-key="\d+">|$^', body)
        if k
    ]
    assert body.count("<tr>") == 200
    assert "the other 800 are in" in Page(text).words()
    ids = [int(row.split("</td>")[0].rsplit(">", 1)[1].replace(",", "")) for row in body.split("<tr>")[1:]]
    expected = np.argsort(-pixels)[:200] + 1
    assert ids == expected.tolist()
    assert sizes == sorted(sizes, reverse=True)


def test_sortable_headers_are_buttons(earth: Any, tmp_path: Path) -> None:
    text = report(earth, tmp_path)
    head = text.split('class="sortable"')[1].split("</thead>")[0]
    assert head.count("<button") == head.count('<th scope="col"') == 11
    assert head.count('aria-sort="descending"') == 1
    tables = text.split("<table")[1:]
    assert all('scope="col"' in t for t in tables)


def test_no_regions(earth: Any, tmp_path: Path) -> None:
    assert "No region was found." in report(earth, tmp_path, regions=earth.regions.slice(0, 0))


@pytest.mark.parametrize("status", ["done", "partial", "suspect"])
def test_verdict(earth: Any, tmp_path: Path, status: str) -> None:
    text = report(earth, tmp_path, record=earth.record | {"status": status, "warnings": ["Look here."]})
    assert f'<span class="badge {status}">{status}</span>' in text
    assert "Look here." in text


def test_worst_case_stays_small(earth: Any, tmp_path: Path) -> None:
    """Noise in every channel and class, hundreds of channels and classes, endless names."""
    side, many = 1500, 600
    rng = np.random.default_rng(4)
    profile = {
        "driver": "GTiff",
        "height": side,
        "width": side,
        "dtype": "uint8",
        "transform": rasterio.Affine(1, 0, 0, 0, -1, 0),
    }
    with rasterio.open(tmp_path / "i.tif", "w", count=3, **profile) as file:
        file.write(rng.integers(0, 256, (3, side, side), np.uint8))
    with rasterio.open(tmp_path / "mask.tif", "w", count=1, **profile) as file:
        file.write(rng.integers(0, 250, (1, side, side), np.uint8))
    record, summary = copy.deepcopy(earth.record), copy.deepcopy(earth.summary)
    names = [f"{'x' * 3000}{i}" for i in range(many)]
    record["input"]["channels"] = names
    record["statistics"] = [record["statistics"][0] | {"channel": n} for n in names]
    record["bundle"]["classes"] = [
        {"name": f"{'c' * 2000}{i}", "code": i, "colour": f"#{i * 60000:06x}", "region": True}
        for i in range(250)
    ]
    row = summary["classes"][1]
    summary["classes"] = [row | {"code": c["code"], "name": c["name"]} for c in record["bundle"]["classes"]]
    record["warnings"] = ["w" * 20_000] * 400
    record["failed_tiles"] = [{"tile": [i, i], "reason": "r" * 5000} for i in range(3000)]
    n = 3000
    columns = {"id": np.arange(n), "class": ["c" * 2000] * n, "code": [1] * n, "pixels": np.arange(n)}
    columns |= {f"mean_{name}": np.zeros(n) for name in names} | {"touches_border": [True] * n}
    columns |= {"centroid_y": np.zeros(n), "centroid_x": np.zeros(n)}
    info = dataclasses.replace(
        earth.image.info, source=Source.of(tmp_path / "i.tif"), gdal=GdalFile(str(tmp_path / "i.tif"), "GTiff", tuple(range(1, 4))), shape=(side, side), channels=tuple(names[:3]),
        grid={"crs": None, "transform": [1, 0, 0, 0, -1, 0]},
    )  # fmt: skip
    image = dataclasses.replace(earth.image, info=info)
    write_report(tmp_path, record=record, summary=summary, regions=pa.table(columns), image=image)
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    assert (tmp_path / "overview.png").stat().st_size < 1_500_000


def test_post_processing_is_told_per_class(sample: Any, tmp_path: Path) -> None:
    assert "Post-processing" not in report(sample, tmp_path)
    record = copy.deepcopy(sample.record)
    first, second = record["bundle"]["classes"][0], record["bundle"]["classes"][1]
    size = {"earth": ("m2", "m²"), "medical": ("pixels", "voxels")}[record["input"]["field"]]
    record["postprocess"] = {
        "steps": [
            {"kind": "minimum_size", "class_name": second["name"], "size": 1234.5, "unit": size[0], "components": 7, "pixels": 9999},
            {"kind": "largest", "class_name": second["name"], "keep": 2, "components": 1, "pixels": 5},
            {"kind": "fill_holes", "class_name": second["name"], "size": None, "unit": "pixels", "components": 0, "pixels": 0},
        ]
    }  # fmt: skip
    page = Page(report(sample, tmp_path, record=record)).words()
    said = page.split("Post-processing", 1)[1]
    assert f"becomes {first['name']}" in said
    assert f"{second['name']} remove regions smaller than 1,234.5 {size[1]} 7 regions removed 9,999" in said
    assert f"{second['name']} keep the 2 largest regions 1 region removed 5" in said
    assert f"{second['name']} fill all holes 0 holes filled 0" in said
