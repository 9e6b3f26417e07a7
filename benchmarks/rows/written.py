"""Masks written band by band, overviews and names included, against the same array written directly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.command import program
from benchmarks.harness import Figure, Goal, Row, Settings, interleave, ratios, seconds

SIDE = 20_000
DEPTH, VOLUME_SIDE = 300, 512
NAMES = {"cog": "rasterio", "nifti": "nibabel"}


def measure(settings: Settings) -> Sequence[Figure]:
    """Each writer in a process of its own, in turns; the array is made before the clock starts."""
    side = settings.side(SIDE)
    depth, across = (settings.side(n, axes=3, multiple=4) for n in (DEPTH, VOLUME_SIDE))
    shapes = {"cog": (side, side), "nifti": (depth, across, across)}
    figures = []
    for kind, shape in shapes.items():
        size = "x".join(map(str, shape))
        folder = settings.work / "written"
        run = partial(program, settings, "benchmarks.writing", kind)
        run("ours", "512x512" if kind == "cog" else "8x64x64", folder)
        contestants = {who: partial(run, who, size, folder) for who in ("ours", "direct")}
        results = interleave(contestants, repeats=settings.repeats, note=settings.note)
        took = {who: [r["seconds"] for r in rounds] for who, rounds in results.items()}
        if len({r["pixels"] for rounds in results.values() for r in rounds}) != 1:
            raise RuntimeError(f"the {kind} masks are not equal")
        figures.append(
            Figure(
                f"{kind.upper() if kind == 'cog' else 'NIfTI'} mask written, over {NAMES[kind]} writing the same array",
                ratios(took["ours"], took["direct"]),
                goal=Goal("≤", 1.2),
                details={
                    "mask": f"{size} uint8, equal pixels",
                    "ours s": seconds(took["ours"]),
                    "direct s": seconds(took["direct"]),
                    "bytes": [results[who][0]["bytes"] for who in ("ours", "direct")],
                },
            )
        )
    return figures


ROW = Row("written", "masks written, against rasterio and nibabel", measure)
