"""Polygons of a large mask: the whole command, file included, against GDAL's polygons of the whole array."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.command import environment, last_words, program
from benchmarks.harness import ROOT, Figure, Goal, Row, Settings, interleave, ratios, seconds
from benchmarks.memory import PeakMemory, can_measure_memory

SIDE = 20_000
#: Pixels from one region to the next: 224² regions, about 50,000, on the full side.
STEP = 89
BLOCK = 512
GIB = 2**30


def codes(rows: range, side: int) -> npt.NDArray[np.uint8]:
    """Lines of a mask of wavy islands of three classes, every third with a lake."""
    y = np.arange(rows.start, rows.stop)[:, np.newaxis]
    x = np.arange(side)[np.newaxis]
    row, column = y // STEP, x // STEP
    kind = (row * 7 + column * 13) % 9
    dy, dx = y % STEP - STEP / 2, x % STEP - STEP / 2
    angle = np.arctan2(dy, dx).astype(np.float32)
    radius = 24 + 9 * np.sin(angle * (3 + kind % 4) + kind) + 6 * np.sin(angle * 11 + row)
    distance = np.hypot(dy, dx).astype(np.float32)
    out = np.where(distance < radius, 1 + kind % 3, 0).astype(np.uint8)
    out[(kind % 3 == 0) & (distance < 6)] = 0
    return out


def mask(folder: Path, side: int) -> Path:
    """A tiled GeoTIFF, made once and kept."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    path = folder / f"islands-{side}.tif"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.tif")
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8", "tiled": True,
        "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "nodata": 255, "crs": "EPSG:32633",
        "transform": from_origin(300_000, 5_600_000, 1, 1),
    }  # fmt: skip
    with rasterio.open(part, "w", **profile) as image:
        for start in range(0, side, BLOCK):
            rows = range(start, min(start + BLOCK, side))
            image.write(codes(rows, side), 1, window=Window(0, start, side, len(rows)))
    part.rename(path)
    return path


def measure(settings: Settings) -> Sequence[Figure]:
    """The command, from the start of its process to its end, and the whole array's polygons, in turns."""
    can_measure_memory()
    side = settings.side(SIDE)
    settings.note(f"mask of {side}²")
    large = mask(settings.work / "images", side)
    _polygons(settings, mask(settings.work / "images", 512))  # what is compiled once is not measured
    contestants = {
        "segflow": lambda: _polygons(settings, large),
        "whole array": lambda: program(settings, "benchmarks.shapes", large),
    }
    results = interleave(contestants, repeats=settings.repeats, note=settings.note)
    settings.note("memory")
    peak = _polygons(settings, large, sampled=True)["peak"]
    _check(results)
    took = {name: [r["seconds"] for r in rounds] for name, rounds in results.items()}
    return [
        Figure(
            "segflow polygons, GeoParquet written, over rasterio.features.shapes on the whole array",
            ratios(took["segflow"], took["whole array"]),
            goal=Goal("≤", 1),
            details={
                "mask": f"{side}² uint8, {results['segflow'][0]['regions']} regions, same counts and areas",
                "segflow s": seconds(took["segflow"]),
                "shapes s": seconds(took["whole array"]),
            },
        ),
        Figure("its peak memory, once", (peak / GIB,), unit="GiB", goal=Goal("≤", 1)),
    ]


def _check(results: dict[str, list[dict[str, Any]]]) -> None:
    """Both found the same.

    Raises:
        RuntimeError: They did not.
    """
    ours, theirs = results["segflow"][0], results["whole array"][0]
    for c in ours["classes"]:
        key = str(c["code"])
        if (c["regions"], float(c["pixels"])) != (theirs["count"][key], theirs["area"][key]):
            raise RuntimeError(f"code {key} differs: {c}, {theirs['count'][key]}, {theirs['area'][key]}")


def _polygons(settings: Settings, path: Path, *, sampled: bool = False) -> dict[str, Any]:
    out = settings.work / "polygons.parquet"
    out.unlink(missing_ok=True)
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "polygons", str(path), "--out", str(out), "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(settings.work / "home"),
    ) as process:
        memory = PeakMemory(process) if sampled else None
        output, error = process.communicate()
        peak = memory.stop() if memory else 0
    took = time.perf_counter() - begin
    out.unlink(missing_ok=True)
    if process.returncode:
        raise RuntimeError(f"segflow exited with {process.returncode}: {last_words(output, error)}")
    return {**json.loads(output), "seconds": took, "peak": peak}


ROW = Row("polygons", "polygons of a large mask", measure)
