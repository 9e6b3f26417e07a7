"""What ``segflow plan`` shows: the plan that ``run`` would execute, priced, with nothing left behind."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segmodels.engines.base import Engine
from segmodels.engines.hardware import ON_GPU
from segmodels.engines.on_onnx import import_onnxruntime
from tasks.blocks.blockfile import block_path
from tasks.blocks.reading import block_windows
from tasks.coarse.price import cost_of, region_record
from tasks.coarse.region_of import find_coarse, held_region
from tasks.imagery.open import describe
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.views.shared import cells_of
from tasks.planning.budget import counted_regions
from tasks.planning.build import build_plan
from tasks.planning.opened import open_planned
from tasks.planning.plan import Plan
from tasks.planning.probe import Costs, Estimate, estimate, probe
from tasks.planning.region import CoarseCost
from tasks.planning.request import Request
from tasks.planning.sampled import value_bytes
from tasks.resampling.grid import sampled_info
from tasks.tiling.area import forward_passes, tiles_by_block


@dataclass(frozen=True)
class PricedPlan:
    """A plan with its price.

    Attributes:
        plan: What ``run`` executes.
        image: The image in one line.
        blocks_finished: Blocks that an interrupted run with the same options left.
        tiles_skipped: Tiles without a valid pixel, None if the image has holes and it is not known.
        decoded: Source bytes that prediction decodes; statistics and regions decode the image once each.
        source: Bytes of the whole image, decoded.
        gpu: Whether the model runs on a GPU.
        costs: As probed.
        seconds: As estimated; of two stages the fine one at most, as if the region were all of the image, unless
            an interrupted run has found it.
        coarse: Of two stages, the coarse one, if it has still to run.
    """

    plan: Plan
    image: str
    blocks_finished: int
    tiles_skipped: int | None
    decoded: int
    source: int
    gpu: bool
    costs: Costs
    seconds: Estimate
    coarse: PricedPlan | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON-able; sizes in bytes, times in seconds, axes slowest first."""
        p, grid = self.plan, self.plan.grid
        counts = tiles_by_block(grid, p.tiled_area)
        return {
            "status": "planned",
            "item": p.item,
            "image": {"path": str(p.image), "shape": list(p.shape), "is": self.image},
            "sampling": None if p.resampling is None else p.resampling.as_json(),
            "model": {"name": p.card.name, "version": p.card.version, "digest": p.bundle_digest},
            "engine": {"name": p.engine, "precision": p.precision, "library": p.library},
            "tile": list(grid.tile),
            "overlap": [a.tile - a.step for a in grid.axes],
            "overlap_from": p.overlap_from,
            "blend": p.blend,
            "batch": p.batch,
            "tiles": sum(counts.values()),
            "tiles_skipped": self.tiles_skipped,
            "forward_passes": forward_passes(grid, p.tiled_area),
            "borders": grid.borders,
            "blocks": len(counts),
            "blocks_finished": self.blocks_finished,
            "block": block_pixels(p),
            "workers": p.workers,
            "stitch_rows": p.stitch_rows,
            "source_bytes": self.source,
            "decoded_bytes": self.decoded,
            "decoded_factor": round(self.decoded / self.source, 4),
            "memory_bytes": {"host": p.peak_memory_bytes, "gpu": p.model_bytes if self.gpu else None},
            "regions_counted": counted_regions(tuple(h - a for a, h in zip(*p.bounds, strict=True))),
            "disk_bytes": {"work": p.disk_bytes - p.result_bytes, "result": p.result_bytes},
            "statistics": [s.model_dump() for s in p.statistics],
            "costs": asdict(self.costs),
            "seconds": {k: round(v, 2) for k, v in asdict(self.seconds).items()}
            | self._coarse_seconds()
            | {"total": round(self.total_seconds, 2)},
            "coarse": None if self.coarse is None else self.coarse.as_json(),
            "region_of_interest": region_record(p),
            "notes": list(p.notes),
            "suspicions": list(p.suspicions),
        }

    @property
    def total_seconds(self) -> float:
        """Of all steps of all stages."""
        return self.seconds.total + sum(self._coarse_seconds().values())

    def _coarse_seconds(self) -> dict[str, float]:
        if self.coarse is None:
            return {}
        own = self.coarse.seconds
        return {"coarse": round(own.statistics + own.segment + own.stitch, 2)}


def price_item(request: Request) -> PricedPlan:
    """Plans a run without leaving anything: same plan object, a probe of one tile, a price.

    Raises:
        InputError: The image, or its combination with the model, is refused.
        ModelError: The bundle or the engine is refused.
    """
    with _elsewhere(request.out) as folder:
        coarse = _price_coarse(request, folder)
        cost = None if coarse is None else coarse[1]
        built = build_plan(replace(request, out=folder), folder=request.work().root, cost=cost)
        plan = built.plan
        scratch = replace(request, out=folder).work().scratch
        image = open_planned(plan, scratch=scratch)
        try:
            costs = probe(plan, image, built.engine, folder)
        finally:
            image.close()
    gpu = _on_gpu(built.engine)
    blocks = request.work(plan.key()).blocks
    finished = (
        sum(block_path(blocks, n).exists() for n in range(plan.grid.block_count)) if blocks.is_dir() else 0
    )
    whole = all(s.valid == math.prod(plan.grid.shape) for s in plan.statistics)
    return PricedPlan(
        plan=plan,
        image=describe(built.info),
        blocks_finished=finished,
        tiles_skipped=0 if whole and plan.card.empty is None else None,
        decoded=decoded_bytes(plan, built.info),
        source=math.prod(plan.shape) * value_bytes(built.info),
        gpu=gpu,
        costs=costs,
        seconds=estimate(plan, costs, on_gpu=gpu),
        coarse=None if coarse is None else coarse[0],
    )


def _price_coarse(request: Request, folder: Path) -> tuple[PricedPlan, CoarseCost] | None:
    """The coarse stage that a run would begin with; None for one stage, or where its region is there."""
    coarse = find_coarse(replace(request, out=folder))
    if coarse is None or (not request.force and held_region(request.work().root, coarse) is not None):
        return None
    priced = price_item(replace(coarse.request, out=request.out))
    return priced, cost_of(priced.plan, coarse)


@contextmanager
def _elsewhere(out: Path) -> Iterator[Path]:
    """A folder that goes again, on the disk of ``out`` if it can be: a .nii.gz is inflated into it."""
    beside = out.absolute()
    while not beside.exists() and beside != beside.parent:
        beside = beside.parent
    usable = beside.is_dir() and os.access(beside, os.W_OK)
    # Not inside the output folder itself, where others look for items.
    place = beside.parent if beside == out.absolute() and os.access(beside.parent, os.W_OK) else beside
    folder = Path(tempfile.mkdtemp(prefix=".segflow-plan-", dir=place if usable else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _on_gpu(engine: Engine) -> bool:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    if (
        engine.name == "onnx"
        and "CUDAExecutionProvider" not in import_onnxruntime().get_available_providers()
    ):
        return False  # its usual package is for CPUs alone
    return engine.name in ON_GPU and not hidden and Path("/dev/nvidia0").exists()


def block_pixels(plan: Plan) -> list[int]:
    """Pixels of the usual block per axis: what it answers for."""
    shared = [a.tile - a.step if plan.grid.borders == "stored" else 0 for a in plan.grid.axes]
    return [
        min(a.size, n * a.step + s) for a, n, s in zip(plan.grid.axes, plan.grid.block, shared, strict=True)
    ]


def decoded_bytes(plan: Plan, info: ImageInfo) -> int:
    """Bytes that reading all blocks decodes: whole storage chunks, each once where blocks share them."""
    if plan.resampling is not None:
        info, every = sampled_info(info, plan.resampling), value_bytes(info)
        # As much of the image as of the lattice, in the file's own values.
        own = math.prod(plan.shape) * every / (math.prod(info.shape) * value_bytes(info))
        on_lattice = plan.model_copy(update={"resampling": None, "area": plan.tiled_area})
        return round(decoded_bytes(on_lattice, info) * own)
    if plan.area is not None:
        cells = cells_of(info)
        windows = block_windows(plan.grid, padding=plan.padding, area=plan.area)
        touched = {c for w in windows for c in cells.touching(w)}
        pixels = sum(math.prod(s.stop - s.start for s in cells.window(c)) for c in touched)
        return pixels * value_bytes(info)
    if plan.kept_bytes:
        return math.prod(info.shape) * value_bytes(info)
    total = value_bytes(info)
    for blocks, chunk in zip(plan.grid.block_axes, info.chunk, strict=True):
        axis = blocks.axis
        length = 0
        for b in range(blocks.count):
            used = [axis.sources(k, plan.padding)[0] // chunk for k in blocks.computed(b)]
            chunks = np.unique(np.concatenate(used)) if used else np.empty(0, np.int64)
            length += int((np.minimum(axis.size, (chunks + 1) * chunk) - chunks * chunk).sum())
        total *= length
    return total
