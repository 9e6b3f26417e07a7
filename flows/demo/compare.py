"""What the demo measured beside what is true, both measured the same way."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from flows.demo import brain, earth
from flows.demo.brain_training import SCORED
from segmodels.metrics import ConfusionMatrix
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.source import Source
from tasks.regions.scanner import Regions, RegionScanner
from tasks.regions.sizes import pixel_sizes

LINES = 512


@dataclass(frozen=True)
class Row:
    """One line of the demo's table.

    Attributes:
        name: Of the region or class.
        measured: Size in the published result.
        true: Size in the truth.
        unit: ``km²`` or ``mL``.
        joined_to: The larger region of which the result makes it a part, if it does.
    """

    name: str
    measured: float
    true: float
    unit: str
    joined_to: str | None = None

    @property
    def ratio(self) -> float | None:
        """Measured over true, where the two are the same thing."""
        return None if self.joined_to or not self.true else self.measured / self.true

    def as_json(self) -> dict[str, Any]:
        """JSON-able, ratio included."""
        return {**asdict(self), "ratio": self.ratio}


@dataclass(frozen=True)
class Comparison:
    """Sizes by name, and scores where training never looked."""

    rows: list[Row]
    scores: dict[str, float] = field(default_factory=dict)


def compare_earth(item: Path) -> Comparison:
    """Named land masses, land and lake in all, and scores on the eastern hemisphere.

    Args:
        item: The published item.
    """
    import rasterio

    with rasterio.open(item / "mask.tif") as mask:
        codes = mask.read(1)
        wkt = mask.crs.to_wkt()
    places = earth.known_regions()
    found = scan_globe(codes, wkt, tuple(places.values()))
    cells = earth.earth_mask()
    true = scan_globe(cells, wkt, tuple(places.values()))
    table = pq.read_table(item / "regions.parquet", columns=["id", "area_m2"])
    area = dict(zip(table["id"].to_pylist(), table["area_m2"].to_pylist(), strict=True))
    named = zip(places, found.probes.tolist(), true.probes.tolist(), strict=True)
    rows: list[Row] = []
    owner: dict[int, str] = {}
    for name, i, j in sorted(named, key=lambda n: -_size(true, n[2])):
        joined = owner.setdefault(i, name) if i else name
        rows.append(
            Row(
                name,
                area.get(i, 0.0) / 1e6,
                _size(true, j) / 1e6,
                "km²",
                joined_to=joined if joined != name else None,
            )
        )
    whole = [
        Row(
            name,
            float(found.code_sizes[codes_].sum()) / 1e6,
            float(true.code_sizes[codes_].sum()) / 1e6,
            "km²",
        )
        for name, codes_ in (("all land and lakes", [1, 2]), ("all land", [1]), ("all lakes", [2]))
    ]
    east = (slice(None), slice(earth.EAST, None))
    matrix = ConfusionMatrix(3).update(earth.earth_truth()[east], codes[east])
    scores = {"pixel_accuracy_east": matrix.pixel_accuracy()}
    scores |= {f"iou_{n}_east": float(v) for n, v in zip(earth.CLASSES, matrix.iou(), strict=True)}
    return Comparison([*rows, *whole], scores)


def _size(regions: Regions, identifier: int) -> float:
    return float(regions.size[identifier - 1]) if identifier else 0.0


def scan_globe(codes: npt.NDArray[np.uint8], wkt: str, places: tuple[tuple[float, float], ...]) -> Regions:
    """Regions of a global map of any resolution, with the ids at some places.

    Args:
        codes: ``(rows, columns)``, north up, from 180° W.
        wkt: Its CRS.
        places: Longitude and latitude in degrees.
    """
    height, width = codes.shape
    step = 360 / width
    info = ImageInfo(
        source=Source.of(Path("globe")),
        format="geotiff",
        kind="raster",
        field="earth",
        shape=codes.shape,
        axes=("y", "x"),
        channels=(),
        dtype="uint8",
        wraps=(False, True),
        chunk=(LINES, width),
        nodata=None,
        grid={"crs": wkt, "transform": (step, 0.0, -180.0, 0.0, -step, 90.0)},
    )
    probes = tuple(
        (min(height - 1, int((90 - lat) / step)), int((lon + 180) / step) % width) for lon, lat in places
    )
    scanner = RegionScanner(
        codes.shape,
        channels=0,
        region_codes=(1, 2),
        full=True,
        wraps=True,
        sizes=pixel_sizes(info),
        probes=probes,
    )
    for start in range(0, height, LINES):
        band = np.ascontiguousarray(codes[start : start + LINES])
        window = (slice(start, start + len(band)), slice(0, width))
        scanner.feed(window, band, np.zeros_like(band), np.zeros((*band.shape, 0)))
    return scanner.finish()


def compare_brain(item: Path) -> Comparison:
    """Volumes of grey and white matter, and scores on the anterior half."""
    import nibabel as nib

    mask: Any = nib.as_closest_canonical(nib.load(item / "mask.nii.gz"))
    codes = np.asarray(mask.dataobj).transpose(2, 1, 0)
    truth = brain.brain_truth()
    voxel = abs(float(np.linalg.det(mask.affine[:3, :3]))) / 1000
    rows = [
        Row(name, voxel * int((codes == code).sum()), voxel * int((truth == code).sum()), "mL")
        for name, code in brain.known_regions().items()
    ]
    front = (slice(None), SCORED, slice(None))
    matrix = ConfusionMatrix(3).update(truth[front], codes[front])
    scores: dict[str, float] = {}
    for name, code in brain.known_regions().items():
        key = name.split()[0]
        scores[f"dice_{key}_anterior"] = float(matrix.dice()[code])
        scores[f"volume_ratio_{key}_anterior"] = float(matrix.size_ratio()[code])
    return Comparison(rows, scores)
