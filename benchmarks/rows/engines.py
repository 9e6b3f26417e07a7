"""How fast each engine and precision of this machine runs the U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.bundles import bundle
from benchmarks.command import program
from benchmarks.harness import Figure, Row, Settings, interleave, ratios
from benchmarks.models import FILTERS_2D, TILE_2D

TILES = 40
REFERENCE = ("tensorflow", "float32")
ENGINES = ("tensorflow", "openvino", "jax", "torch", "onnx")
PRECISIONS = ("float32", "bfloat16", "int8")


def measure(settings: Settings) -> Sequence[Figure]:
    """Bare forward passes of every engine, in turns, over the reference engine's speed."""
    model = bundle(settings, "unet2d")
    tiles = max(2, round(TILES * settings.scale))

    def bare(engine: str, precision: str, count: int) -> dict[str, Any]:
        asked = ["--engine", engine, "--precision", precision]
        size = ["--tile", TILE_2D, TILE_2D, "--batch", 1, "--tiles", count]
        return program(settings, "benchmarks.bare", model, *size, *asked)

    able, refused = {}, []
    for engine in ENGINES:
        for precision in PRECISIONS:
            settings.note(f"trying {engine} {precision}")
            answer = bare(engine, precision, 1)
            if "refused" in answer:
                refused.append(Figure(f"{engine} {precision}, bare", why_not=answer["refused"]))
            else:
                able[f"{engine} {precision}"] = partial(bare, engine, precision, tiles)
    results = interleave(able, repeats=settings.repeats, note=settings.note)
    took = {name: [r["seconds"] / r["tiles"] for r in rounds] for name, rounds in results.items()}
    reference = took[" ".join(REFERENCE)]
    figures = [
        Figure(
            f"{name}, bare: speed over {' '.join(REFERENCE)}",
            ratios(reference, seconds),
            details={
                "engine": results[name][0]["engine"],
                "Mpixel/s": [round(TILE_2D**2 / 1e6 / s, 2) for s in seconds],
                "model": f"U-Net {'-'.join(map(str, FILTERS_2D))}, {tiles} tiles of {TILE_2D}², batch 1",
            },
        )
        for name, seconds in took.items()
    ]
    return [*figures, *refused]


ROW = Row("engines", "bare speed of every engine and precision", measure)
