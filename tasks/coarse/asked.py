"""What is asked of the coarse stage: a request of its own, for the part of the image that the fine stage needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from segmodels.bundles.bundle import Bundle
from segmodels.bundles.roi import RegionOfInterest
from segmodels.bundles.stages import Stages
from segmodels.engines.loading import able_engines
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.views.coarsened import coarsen_info
from tasks.imagery.volume.orientation import native_box
from tasks.planning.make import check_match
from tasks.planning.outputs import Outputs
from tasks.planning.plan import Parameters
from tasks.planning.request import Request
from tasks.tiling.area import Area
from tasks.tiling.grid import Index


@dataclass(frozen=True)
class Coarse:
    """The coarse stage of a request.

    Attributes:
        request: Runs the coarse bundle; its work lies beside the fine stage's.
        roi: What the region is.
        margin: Pixels around it, per axis of the image.
        coarsen: Pixels of the image that make one of the coarse stage, per axis.
        shape: Of the image.
        wraps: Per axis, whether its ends are neighbours.
        image_digest: Of the image.
        bundle_digest: Of the two-stage bundle.
        digest: Of the coarse bundle.
    """

    request: Request
    roi: RegionOfInterest
    margin: Index
    coarsen: Index
    shape: Index
    wraps: tuple[bool, ...]
    image_digest: str
    bundle_digest: str
    digest: str

    @property
    def asked(self) -> str:
        """Digest of what is asked of the stage."""
        return self.request.parameters.digest()


def coarse_of(
    request: Request, bundle: Bundle, stages: Stages, *, info: ImageInfo, area: Area | None, image_digest: str
) -> Coarse:
    """The coarse stage of a request.

    Args:
        request: Of the two-stage bundle.
        bundle: It.
        stages: Its stages.
        info: The image's header.
        area: What a preview computes; None for all.
        image_digest: Of the image.

    Raises:
        InputError: The image does not fit the fine stage.
    """
    ndim, axes = check_match(info, stages.fine.card), len(info.shape)
    margin = stages.roi.over(stages.roi.margin, axes=axes, model_ndim=ndim, rest=0)
    coarsen = stages.roi.over(stages.roi.coarsen, axes=axes, model_ndim=ndim, rest=1)
    coarser = any(f > 1 for f in coarsen)
    seen = coarsen_info(info, coarsen) if coarser else info
    engine, precision = _engine(stages.coarse, request.parameters)
    parameters = Parameters(
        engine=engine,
        precision=precision,
        cpu_fallback=request.parameters.cpu_fallback,
        coarsen=coarsen if coarser else None,
        spacing="native" if stages.coarse.card.spacing is None else request.parameters.spacing,
        window=None if area is None else _window(area, info, seen, margin=margin, coarsen=coarsen),
    )
    return Coarse(
        request=replace(
            request, model=str(stages.coarse.path), parameters=parameters, aoi=None, outputs=Outputs()
        ),
        roi=stages.roi,
        margin=margin,
        coarsen=coarsen,
        shape=info.shape,
        wraps=info.wraps,
        image_digest=image_digest,
        bundle_digest=bundle.digest,
        digest=stages.coarse.digest,
    )


def _engine(coarse: Bundle, asked: Parameters) -> tuple[str, str]:
    """Engine and precision as asked for where they can run the coarse stage, which may be of another kind."""
    able = able_engines(coarse)
    engine = asked.engine if asked.engine in able else "auto"
    fixed = coarse.kind == "method" or coarse.card.precision is not None
    if fixed or (asked.precision == "int8" and "openvino" not in able):
        return engine, "auto"
    return engine, asked.precision


def _window(area: Area, info: ImageInfo, seen: ImageInfo, *, margin: Index, coarsen: Index) -> str:
    """What decides the region in a preview's window, on the coarse stage's grid, as ``--window`` writes it."""
    window = []
    for a, h, n, m, f, w in zip(area.low, area.high, info.shape, margin, coarsen, info.wraps, strict=True):
        whole = w and (a < m or h + m > n)
        low, high = (0, n) if whole else (max(0, a - m), min(n, h + m))
        window.append(slice(low // f, -(-high // f)))
    native = tuple(window) if info.kind == "raster" else native_box(seen, tuple(window))[:3]
    return ",".join(f"{s.start}:{s.stop}" for s in native)
