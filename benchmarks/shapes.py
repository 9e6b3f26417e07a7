"""Polygons of a mask by ``rasterio.features.shapes`` on the whole array; run as a program of its own."""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise

import rasterio
from rasterio.features import shapes


def main(path: str) -> None:
    """Reads the whole mask, makes all polygons, and prints how many of each code and how long it took."""
    begin = time.perf_counter()
    with rasterio.open(path) as file:
        mask, transform = file.read(1), file.transform
    count: dict[int, int] = {}
    area: dict[int, float] = {}
    for geometry, value in shapes(mask, mask=mask > 0, connectivity=8, transform=transform):
        code = int(value)
        count[code] = count.get(code, 0) + 1
        area[code] = area.get(code, 0.0) + sum(
            _enclosed(ring) * (1 if i == 0 else -1) for i, ring in enumerate(geometry["coordinates"])
        )
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "count": count, "area": area}))


def _enclosed(ring: list[tuple[float, float]]) -> float:
    """Area inside a closed ring."""
    x0, y0 = ring[0]
    total = 0.0
    for (ax, ay), (bx, by) in pairwise(ring):
        total += (ax - x0) * (by - y0) - (bx - x0) * (ay - y0)
    return abs(total) / 2


if __name__ == "__main__":
    main(sys.argv[1])
