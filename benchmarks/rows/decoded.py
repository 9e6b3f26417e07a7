"""How much of the source is read for prediction: overlaps should not be decoded again for every block."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bundles import bundle
from benchmarks.command import program
from benchmarks.data import geotiff
from benchmarks.harness import Figure, Goal, Row, Settings, UnavailableError

SIDE = 8192


def measure(settings: Settings) -> Sequence[Figure]:
    """Bytes that the run reads from files while its blocks run, over the image file's size.

    GDAL reads a compressed block from the file each time it decodes one, and nothing else is read
    meanwhile but block headers; so compressed bytes read count decoded blocks. Counted, not timed: once.
    """
    if not Path("/proc/self/io").is_file():
        raise UnavailableError("bytes read by a process are counted on Linux only")
    side = settings.side(SIDE)
    image = geotiff(settings.work / "images", side)
    out = settings.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    settings.note(f"image of {side}² × 3")
    options = ["--direct", "--overlap", 0.25, "--warm", geotiff(settings.work / "images", 512)]
    answer = program(settings, "benchmarks.inside", image, bundle(settings, "noop"), out, *options)
    shutil.rmtree(out, ignore_errors=True)
    size = image.stat().st_size
    per_stage = {name: stage["bytes"] / size for name, stage in answer["stages"].items()}
    return [
        Figure(
            "source bytes decoded for prediction over those of the image",
            (per_stage["segment"],),
            goal=Goal("≤", 1.25),
            details={
                "image": f"{side}² × 3 uint8, ZSTD, blocks of 512",
                "tiles": f"{answer['tiles']} of 512 in {answer['blocks']} blocks",
                "read for statistics and digest": per_stage["plan"],
            },
        )
    ]


ROW = Row("decoded", "source bytes decoded during prediction", measure)
