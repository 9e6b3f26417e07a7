"""What Prefect costs: the flow against the same steps as plain functions, with a server running."""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.bundles import bundle
from benchmarks.command import environment, program
from benchmarks.data import geotiff
from benchmarks.harness import ROOT, Figure, Goal, Row, Settings, interleave, ratios, seconds
from benchmarks.models import OVERLAP_2D, TILE_2D

BLOCKS = 100
#: Least seconds of forward passes in a block.
BLOCK_SECONDS = 1.0
STEP = round(TILE_2D * (1 - OVERLAP_2D))
#: Seconds until a server must answer.
PATIENCE = 120


def measure(settings: Settings) -> Sequence[Figure]:
    """Both in turns; blocks large enough that their forward passes alone take a second."""
    model = bundle(settings, "unet2d")
    settings.note("how long does a tile take?")
    probe = ["--tile", TILE_2D, TILE_2D, "--batch", 1, "--tiles", 12]
    a_tile = program(settings, "benchmarks.bare", model, *probe)["seconds"] / 12
    along = math.ceil(math.sqrt(BLOCK_SECONDS / a_tile))
    blocks = max(1, round(math.sqrt(BLOCKS * settings.scale)))
    side = blocks * along * STEP + TILE_2D - STEP
    settings.note(f"image of {side}² × 3, {blocks**2} blocks of {along**2} tiles")
    image = geotiff(settings.work / "images", side)
    out, warm = settings.work / "out", geotiff(settings.work / "images", TILE_2D)
    with server(settings) as url:

        def run(*options: str) -> dict[str, Any]:
            shutil.rmtree(out, ignore_errors=True)
            arguments = [
                image,
                model,
                out,
                "--overlap",
                OVERLAP_2D,
                "--block",
                along * STEP,
                "--warm",
                warm,
                *options,
            ]
            return program(settings, "benchmarks.inside", *arguments, env={"PREFECT_API_URL": url})

        results = interleave(
            {"flow": run, "plain functions": lambda: run("--direct")},
            repeats=settings.repeats,
            note=settings.note,
        )
    shutil.rmtree(out, ignore_errors=True)
    took = {name: [r["seconds"] for r in rounds] for name, rounds in results.items()}
    segment = {name: [r["stages"]["segment"]["seconds"] for r in rounds] for name, rounds in results.items()}
    count = results["flow"][0]["blocks"]
    return [
        Figure(
            f"Prefect's share: the flow over the same steps as plain functions, {count} blocks",
            tuple(r - 1 for r in ratios(took["flow"], took["plain functions"])),
            goal=Goal("≤", 0.03),
            details={
                "blocks": f"{count} of {along**2} tiles, {along**2 * a_tile:.2f} s of forward passes each",
                "flow s": seconds(took["flow"]),
                "plain functions s": seconds(took["plain functions"]),
                "segmenting alone, flow s": seconds(segment["flow"]),
                "plain functions, s": seconds(segment["plain functions"]),
            },
        )
    ]


@contextmanager
def server(settings: Settings) -> Iterator[str]:
    """A Prefect server of its own on the loopback interface; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = environment(settings.work / "home", DO_NOT_TRACK="1", PREFECT_SERVER_ANALYTICS_ENABLED="false")
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1"],
        env=env,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}/api"
            _wait(f"{url}/health", process)
            yield url
        finally:
            process.terminate()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise RuntimeError(f"Prefect's server did not answer at {url} within {PATIENCE} s")


ROW = Row("prefect", "Prefect's share of a run", measure)
