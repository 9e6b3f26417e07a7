"""The region of interest that a coarse stage found: frozen in the plan of the fine stage, kept beside its blocks."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from segmodels.bundles.roi import RegionOfInterest
from tasks.files import atomic_write
from tasks.tiling.area import Area

REGION = "region.json"


class CoarseCost(BaseModel):
    """What the coarse stage takes of a run.

    Attributes:
        engine: What runs it.
        memory: Bound of the process tree while it runs, bytes.
        model: Its model's own buffers, which stay while the fine stage runs.
        disk: Bound of what it writes at once.
        bitmap: Of what it leaves, bytes.
    """

    model_config = ConfigDict(frozen=True)

    engine: str
    memory: int
    model: int
    disk: int
    bitmap: int


class Region(BaseModel):
    """What the coarse stage found, and by what.

    Attributes:
        image_digest: Of the image.
        bundle_digest: Of the two-stage bundle.
        asked: Digest of the coarse stage's parameters: engine, coarsening, a preview's window.
        roi: What the region is.
        name: Of the coarse stage, with its version and digest.
        engine: What ran it, with its precision and library.
        area: The region on the image's grid; its window is empty where nothing was found.
        pixels: Of the region, margin included.
        found: Pixels of the coarse stage that have its classes.
        tiles: Tiles that the coarse stage ran.
        failures: Of these, those that failed: they count as region.
        first_failure: Why the first of them did.
        notes: What a user should know.
        suspicions: Why the region may be wrong.
        cost: What it took of the run.
        folder: Where it lies.
    """

    model_config = ConfigDict(frozen=True)

    image_digest: str
    bundle_digest: str
    asked: str
    roi: RegionOfInterest
    name: str
    version: str
    digest: str
    engine: str
    precision: str
    library: str
    area: Area
    pixels: int
    found: int
    tiles: int
    failures: int = 0
    first_failure: str = ""
    notes: tuple[str, ...] = ()
    suspicions: tuple[str, ...] = ()
    cost: CoarseCost
    folder: Path

    def write(self) -> None:
        """Writes it into its folder as JSON, atomically."""
        with atomic_write(self.folder / REGION) as stream:
            stream.write(self.model_dump_json(indent=1).encode())


def find_region(root: Path, *, image_digest: str, bundle_digest: str, asked: str) -> Region | None:
    """What a coarse stage left for this image, bundle and parameters, if anything.

    Args:
        root: The item's work folder, there or not.
        image_digest: Of the input's content.
        bundle_digest: Of the two-stage bundle.
        asked: Digest of the coarse stage's parameters.
    """
    found = []
    for file in sorted(root.glob(f"*/{REGION}")):
        try:
            region = Region.model_validate_json(file.read_bytes())
        except (OSError, ValueError):
            continue  # of another version
        there = region.area.bitmap is None or region.area.bitmap.is_file()
        if there and (region.image_digest, region.bundle_digest, region.asked) == (
            image_digest,
            bundle_digest,
            asked,
        ):
            found.append((file.stat().st_mtime_ns, region))
    return max(found, key=lambda f: f[0])[1] if found else None
