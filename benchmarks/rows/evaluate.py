"""Speed and memory of scoring a large mask against truth, by windows."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.command import environment, last_words
from benchmarks.harness import ROOT, Figure, Goal, Row, Settings, seconds
from benchmarks.memory import PeakMemory, can_measure_memory

SIDE = 20_000
BLOCK = 512
CLASSES = 5
GIB = 2**30


def codes(rows: range, side: int, *, moved: int) -> npt.NDArray[np.uint8]:
    """Lines of a mask of wavy bands, with a per mille of specks; ``moved`` shifts it and other specks fall."""
    y = np.arange(rows.start, rows.stop)[:, np.newaxis] + moved
    x = np.arange(side)[np.newaxis] + moved
    waves = 2.2 + 1.3 * np.sin(x / 310) * np.cos(y / 230) + 0.9 * np.sin((x + y) / 97)
    out = np.clip(waves, 0, CLASSES - 1).astype(np.uint8)
    specks = np.random.default_rng([rows.start, moved]).random(out.shape, np.float32) < 0.001
    out[specks] = (out[specks] + 1) % CLASSES
    return out


def mask(folder: Path, side: int, *, moved: int) -> Path:
    """A tiled ZSTD GeoTIFF of one uint8 band, made once and kept."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    path = folder / f"codes-{side}-{moved}.tif"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.tif")
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 1,
        "dtype": "uint8",
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "zstd",
        "nodata": 255,
        "crs": "EPSG:32633",
        "transform": from_origin(300_000, 5_600_000, 1, 1),
    }
    with rasterio.open(part, "w", **profile) as image:
        for start in range(0, side, BLOCK):
            rows = range(start, min(start + BLOCK, side))
            image.write(codes(rows, side, moved=moved), 1, window=Window(0, start, side, len(rows)))
    part.rename(path)
    return path


def measure(settings: Settings) -> Sequence[Figure]:
    """The whole command, from the start of its process to its end; memory is sampled at its first run."""
    can_measure_memory()
    side = settings.side(SIDE)
    settings.note(f"masks of {side}²")
    truth, prediction = (mask(settings.work / "images", side, moved=m) for m in (0, 3))
    small = [mask(settings.work / "images", 512, moved=m) for m in (0, 3)]
    _evaluate(settings, *small, sampled=False)  # what is compiled once per machine is not measured
    peak, _ = _evaluate(settings, truth, prediction, sampled=True)
    took = []
    for turn in range(settings.repeats):
        settings.note(f"round {turn + 1} of {settings.repeats}")
        took.append(_evaluate(settings, truth, prediction, sampled=False)[1])
    about = {"pair": f"{side}² uint8, tiled, ZSTD, {CLASSES} classes", "command s": seconds(took)}
    return [
        Figure(
            "segflow evaluate --masks, pixels of the pair per second of the whole command",
            tuple(side * side / 1e6 / t for t in took),
            unit="Mpixel/s",
            goal=Goal("≥", 100),
            details=about,
        ),
        Figure("its peak memory, once", (peak / GIB,), unit="GiB", goal=Goal("≤", 1)),
    ]


def _evaluate(settings: Settings, truth: Path, prediction: Path, *, sampled: bool) -> tuple[int, float]:
    """Peak bytes (0 unless sampled) and seconds."""
    out = settings.work / "evaluation"
    arguments = ["evaluate", "--masks", prediction, "--truth", truth, "--out", out]
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)],
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
    shutil.rmtree(out, ignore_errors=True)
    if process.returncode:
        raise RuntimeError(f"segflow exited with {process.returncode}: {last_words(output, error)}")
    return peak, took


ROW = Row("evaluate", "scoring a large mask against truth", measure)
