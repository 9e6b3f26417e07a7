"""Two Dask workers against one, with models whose tiles take a fifth of a second."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.bundles import bundle
from benchmarks.command import Ran, environment, segflow_run
from benchmarks.data import geotiff
from benchmarks.harness import (
    ROOT,
    Figure,
    Goal,
    Row,
    Settings,
    UnavailableError,
    interleave,
    ratios,
    seconds,
)
from benchmarks.models import OVERLAP_2D, TILE_2D

#: Blocks along each axis, of 2 × 2 tiles.
BLOCKS = 8
TILE_SECONDS = 0.2
STEP = round(TILE_2D * (1 - OVERLAP_2D))
SLOW = ROOT / "benchmarks" / "slow"


def measure(settings: Settings) -> Sequence[Figure]:
    """A model that sleeps, then one that computes on one thread; one and two workers in turns."""
    _can_run(settings)
    blocks = max(2, round(BLOCKS * settings.scale**0.5))
    side = 2 * blocks * STEP + TILE_2D - STEP
    image, model = geotiff(settings.work / "images", side), bundle(settings, "noop")
    spin = round(TILE_SECONDS / _round_seconds())
    figures = []
    for slow, about, bound in (
        (f"sleep:{TILE_SECONDS}", f"a model that sleeps {TILE_SECONDS} s a tile", 1.85),
        (f"spin:{spin}", "a model that computes on one thread", 1.8),
    ):
        settings.note(about)
        results = interleave(
            {str(n): partial(_run, settings, image, model, n, slow) for n in (1, 2)},
            repeats=settings.repeats,
            note=settings.note,
        )
        took = {name: [r.stages("segment") for r in rounds] for name, rounds in results.items()}
        details = {
            "blocks": f"{blocks**2} of 4 tiles",
            "1 worker, segmenting s": seconds(took["1"]),
            "2 workers, segmenting s": seconds(took["2"]),
            "the whole run s, 1 worker": seconds([r.seconds for r in results["1"]]),
            "2 workers, s": seconds([r.seconds for r in results["2"]]),
        }
        measure = f"2 Dask workers against 1, {about}: speed of segmenting"
        figures.append(Figure(measure, ratios(took["1"], took["2"]), goal=Goal("≥", bound), details=details))
    return figures


def _run(settings: Settings, image: Path, model: Path, workers: int, slow: str) -> Ran:
    paths = os.pathsep.join([str(SLOW), str(ROOT)])
    options = ["--overlap", OVERLAP_2D, "--block", 2 * STEP, "--runner", "dask", "--workers", workers]
    return segflow_run(settings, image, model, *options, env={"PYTHONPATH": paths, "BENCHMARK_TILE": slow})


def _can_run(settings: Settings) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", "--help"],
        env=environment(settings.work / "home"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    if "--runner" not in said.stdout:
        raise UnavailableError("`segflow run` has no --runner here")


def _round_seconds() -> float:
    """Seconds of one round of the arithmetic in ``benchmarks/slow/sitecustomize.py``."""
    values = np.linspace(0, 1, 1 << 16, dtype=np.float32)
    rounds = 2000
    begin = time.perf_counter()
    for _ in range(rounds):
        np.sqrt(values, out=values)
    return (time.perf_counter() - begin) / rounds


ROW = Row("dask", "2 Dask workers against 1", measure)
