"""From a fingerprint and a memory budget to a plan of training that a person can read and edit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from segmodels.bundles.card import Normalise
from tasks.datasets.fingerprint import Fingerprint
from tasks.datasets.normalising import class_weights, plan_normalisation
from tasks.datasets.topology import Topology, fitted_patch, plan_topology
from tasks.datasets.training_memory import BASE_BYTES, training_bytes
from tasks.errors import UsageError

#: Largest patch per axis, by the number of axes: more context rarely pays for its time.
_LARGEST = {2: 512, 3: 160}
#: A patch is not made smaller than this before filters are halved.
_WANTED = {2: 128, 3: 64}
_MOST_BATCH = {2: 16, 3: 4}
_MOST_FILTERS = {2: 512, 3: 320}
#: An axis this many times as long as the others makes a volume anisotropic.
_ANISOTROPIC = 3.0


class TrainingPlan(BaseModel):
    """What ``segflow train`` follows; every value may be edited.

    Attributes:
        architecture: Name for ``segmodels.build``.
        options: Its settings.
        ndim: Spatial axes of the model.
        patch: Size of a training tile per axis, slowest first.
        spacing: Pixels are resampled to this (mm or m) unless they have it; None takes them as they are.
        batch: Tiles a step.
        normalise: One entry for all channels, or one per channel.
        class_weights: Per class in the order of codes, mean 1.
        loss: Name of the loss.
        augment: Steps by ``kind``.
        precision: Of the layers.
        learning_rate: Peak.
        steps: Batches in all.
        memory_bytes: Estimate for one step of training.
        reasons: A sentence per choice.
    """

    model_config = ConfigDict(extra="forbid")

    architecture: str
    options: dict[str, Any]
    ndim: Literal[2, 3]
    patch: tuple[int, ...]
    spacing: tuple[float, ...] | None = None
    batch: int = Field(ge=1)
    normalise: tuple[Normalise, ...]
    class_weights: tuple[float, ...]
    loss: str
    augment: tuple[dict[str, Any], ...] = ()
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    learning_rate: float = Field(gt=0)
    steps: int = Field(ge=1)
    memory_bytes: int
    reasons: dict[str, str]

    def to_yaml(self) -> str:
        """The plan as YAML, each choice behind a comment that says why."""
        import yaml

        lines = []
        for key, value in self.model_dump(mode="json", exclude={"reasons"}).items():
            reason = self.reasons.get(key)
            if reason:
                lines.append(f"# {reason}")
            flow = None if isinstance(value, list | dict) else False
            text = yaml.safe_dump({key: value}, default_flow_style=flow, sort_keys=False, width=100)
            lines.append(text.rstrip())
        reasons = yaml.safe_dump({"reasons": self.reasons}, sort_keys=False, width=100, allow_unicode=True)
        return "\n".join([*lines, reasons])


def plan_training(fingerprint: Fingerprint, *, memory_bytes: int, bfloat16: bool = False) -> TrainingPlan:
    """Decides everything that a training needs to know.

    Args:
        fingerprint: Of the items that will be trained on.
        memory_bytes: What one step may take, on the device that trains.
        bfloat16: Whether that device multiplies bfloat16 itself.

    Raises:
        UsageError: Not even the smallest network fits.
    """
    ndim, reasons = fingerprint.ndim, {}
    spacing, reasons["spacing"] = _spacing(fingerprint)
    shape = _resampled(fingerprint, spacing)
    start = _first_patch(shape, spacing, ndim)
    classes, channels = len(fingerprint.classes), len(fingerprint.channels)

    def cost(patch: Sequence[int], base: int, batch: int) -> int:
        topology, filters, blocks = _network(patch, spacing, base, ndim)
        return training_bytes(
            topology, filters, patch, batch=batch, channels=channels, classes=classes, blocks=blocks
        )

    batch = 2
    patch, base = _fit(start, spacing, ndim, batch, memory_bytes, cost)
    reasons["patch"] = (
        f"The median image is {_by(shape)} pixels; a patch of {_by(patch)} is what "
        f"{memory_bytes / 2**30:.1f} GiB takes with {base} filters at the top and two tiles a step."
        if patch != start
        else f"The median image is {_by(shape)} pixels and the memory takes a patch of {_by(patch)} at once."
    )
    # large batches of a small data set would see it whole in every step
    twentieth = max(2, fingerprint.pixels // 20 // math.prod(patch))
    most = min(_MOST_BATCH[ndim], twentieth)
    while batch < most and cost(patch, base, batch + 1) <= memory_bytes:
        batch += 1
    reasons["batch"] = (
        f"{batch} tiles a step fit; no more than {most}, of at most a twentieth of all pixels, are used."
    )
    topology, filters, blocks = _network(patch, spacing, base, ndim)
    architecture, options, reasons["architecture"] = _architecture(topology, filters, blocks, ndim)
    augment, reasons["augment"] = _augment(fingerprint, topology, patch)
    precision, reasons["precision"] = _precision(bfloat16)
    normalise, reasons["normalise"] = plan_normalisation(fingerprint)
    weights, loss, reasons["class_weights"], reasons["loss"] = class_weights(fingerprint)
    steps, reasons["steps"] = _steps(fingerprint, patch, batch, spacing)
    estimate = cost(patch, base, batch)
    reasons["options"] = (
        f"{len(filters)} levels: an axis is halved while its pixels are within twice the shortest and at least "
        "four are left."
    )
    reasons["learning_rate"] = "The usual peak for AdamW with a cosine; halve it if the loss does not fall."
    reasons["memory_bytes"] = (
        f"About {estimate / 2**30:.2f} GiB for a step in float32, of {memory_bytes / 2**30:.2f} GiB allowed."
    )
    return TrainingPlan(
        architecture=architecture,
        options=options,
        ndim=ndim,
        patch=patch,
        spacing=spacing,
        batch=batch,
        normalise=normalise,
        class_weights=weights,
        loss=loss,
        augment=augment,
        precision=precision,
        learning_rate=2e-3 if ndim == 2 else 1e-3,
        steps=steps,
        memory_bytes=estimate,
        reasons=reasons,
    )


def _spacing(f: Fingerprint) -> tuple[tuple[float, ...] | None, str]:
    """Target spacing (None where files state none), and why."""
    if f.spacing is None:
        return None, "The files state no pixel size, so pixels are taken as they are."
    target = [_rounded(v) for v in f.spacing]
    if not f.spacing_varies:
        return tuple(target), f"All items have {_by(target)} {_unit(f)}, so nothing is resampled."
    reason = f"Spacings differ, so all are resampled to the median, {_by(target)} {_unit(f)}."
    coarse = max(range(len(target)), key=lambda a: target[a])
    others = [v for a, v in enumerate(target) if a != coarse]
    sizes = _resampled(f, tuple(target))
    few = sizes[coarse] * _ANISOTROPIC < min(n for a, n in enumerate(sizes) if a != coarse)
    if f.finest_tenth is not None and target[coarse] > _ANISOTROPIC * max(others) and few:
        target[coarse] = _rounded(max(f.finest_tenth[coarse], max(others)))
        reason = (
            f"Spacings differ: resampled to the median, but to the finest tenth along the thick axis, {_by(target)} "
            f"{_unit(f)}, so that little is interpolated away there."
        )
    return tuple(target), reason


def _rounded(length: float) -> float:
    """Without the noise of headers in 32-bit floats."""
    return float(f"{length:.5g}")


def _resampled(f: Fingerprint, spacing: tuple[float, ...] | None) -> tuple[int, ...]:
    """The median image in pixels of the spacing."""
    if spacing is None or f.spacing is None or not f.spacing_varies:
        return f.median_shape
    extent = f.extent or tuple(n * have for n, have in zip(f.median_shape, f.spacing, strict=True))
    return tuple(max(1, round(length / want)) for length, want in zip(extent, spacing, strict=True))


def _first_patch(shape: tuple[int, ...], spacing: tuple[float, ...] | None, ndim: int) -> tuple[int, ...]:
    """The median image, no axis longer than the largest patch, rounded up to what the network halves."""
    # the same extent in mm along every axis: thick slices need fewer
    length = (1.0,) * ndim if spacing is None else spacing
    mean = math.prod(length) ** (1 / ndim)
    start = [min(n, max(8, round(_LARGEST[ndim] * mean / v))) for n, v in zip(shape, length, strict=True)]
    total = plan_topology(start, spacing).total
    return fitted_patch([-(-n // t) * t for n, t in zip(start, total, strict=True)], spacing)


def _fit(
    start: tuple[int, ...],
    spacing: tuple[float, ...] | None,
    ndim: int,
    batch: int,
    memory_bytes: int,
    cost: Any,
) -> tuple[tuple[int, ...], int]:
    """The largest patch that fits; filters are halved before it gets too small to see anything."""
    smallest: tuple[int, ...] = start
    for base in (32, 16, 8):
        patch: tuple[int, ...] = start
        while True:
            if cost(patch, base, batch) <= memory_bytes:
                return patch, base
            shrunk = _shrunk(patch, start, spacing, _WANTED[ndim] if base > 8 else 8)
            if shrunk is None:
                break
            patch = shrunk
        smallest = patch
    need = cost(smallest, 8, batch)
    raise UsageError(
        f"a budget of {memory_bytes / 2**30:.2f} GiB takes no network: the smallest needs {need / 2**30:.2f} GiB "
        f"(of it {BASE_BYTES / 2**30:.2f} for the framework); raise the memory."
    )


def _shrunk(
    patch: tuple[int, ...], start: tuple[int, ...], spacing: tuple[float, ...] | None, least: int
) -> tuple[int, ...] | None:
    """One step smaller along the axis that has kept most of the image; None if all are at their least."""
    total = plan_topology(patch, spacing).total
    able = [
        a
        for a, (n, s, t) in enumerate(zip(patch, start, total, strict=True))
        if n - t >= t and n - t >= min(least, s // 2)
    ]
    if not able:
        return None
    axis = max(able, key=lambda a: (patch[a] / start[a], patch[a]))
    cut = tuple(n - total[a] if a == axis else n for a, n in enumerate(patch))
    fitted = fitted_patch(cut, spacing)
    return fitted if fitted < patch and math.prod(fitted) < math.prod(patch) else None


def _network(
    patch: Sequence[int], spacing: tuple[float, ...] | None, base: int, ndim: int
) -> tuple[Topology, tuple[int, ...], tuple[int, ...] | None]:
    # pictures are halved until about 16 pixels are left, beyond which few objects reach
    topology = plan_topology(patch, spacing, most=5 if ndim == 2 and max(patch) <= 256 else 6)
    filters = tuple(min(base * 2**i, _MOST_FILTERS[ndim]) for i in range(len(topology.strides)))
    plain = ndim == 2 and topology.isotropic
    return topology, filters, None if plain else (1, *(2,) * (len(filters) - 1))


def _architecture(
    topology: Topology, filters: tuple[int, ...], blocks: tuple[int, ...] | None, ndim: int
) -> tuple[str, dict[str, Any], str]:
    if blocks is None and len(filters) > 1:
        return "unet", {"filters": list(filters)}, "Both axes are alike in a picture: a plain 2-D U-Net."
    options = {
        "filters": list(filters),
        "blocks": list(blocks or (1,) * len(filters)),
        "kernels": [list(k) for k in topology.kernels],
        "strides": [list(s) for s in topology.strides],
        "deep_supervision": True,
    }
    thick = not topology.isotropic
    reason = (
        f"A {ndim}-D residual U-Net whose kernels and strides leave the coarse axis alone until its pixels are "
        "within twice the others."
        if thick
        else f"A {ndim}-D residual U-Net with deep supervision; all axes are treated alike."
    )
    return "residual_unet", options, reason


def _augment(
    f: Fingerprint, topology: Topology, patch: tuple[int, ...]
) -> tuple[tuple[dict[str, Any], ...], str]:
    steps: list[dict[str, Any]] = [{"kind": "flip", "axes": list(range(f.ndim))}]
    reason = "Remove what your images cannot be: letters, for example, are never mirrored."
    if f.modality == "earth" and patch[0] == patch[1]:
        steps.append({"kind": "quarter_turns"})
        reason = "From above no direction is special."
    if topology.isotropic:
        steps.append({"kind": "affine"})
    else:
        # turned across thick slices, voxels would change their length
        steps.append({"kind": "affine", "plane": [f.ndim - 2, f.ndim - 1]})
        reason += " Only turned within slices, which are thicker than their pixels are wide."
    return (*steps, {"kind": "tint", "gain": 0.1, "offset": 0.05}), reason


def _precision(bfloat16: bool) -> tuple[Literal["float32", "mixed_bfloat16"], str]:
    if bfloat16:
        return "mixed_bfloat16", (
            "This machine multiplies bfloat16 itself, which is faster; weights, logits and the loss stay float32. "
            "Write float32 to train on one that does not."
        )
    return "float32", (
        "This machine does not multiply bfloat16 itself; on processors with AMX and GPUs since 2020 "
        "mixed_bfloat16 is faster."
    )


def _steps(
    f: Fingerprint, patch: tuple[int, ...], batch: int, spacing: tuple[float, ...] | None
) -> tuple[int, str]:
    pixels = float(f.pixels)
    if spacing is not None and f.spacing is not None:
        pixels *= math.prod(f.spacing) / math.prod(spacing)
    once = max(1.0, pixels / (batch * math.prod(patch)))
    steps = int(min(20_000, max(1_000, 60 * once)))
    return (
        steps,
        f"{steps} steps see every pixel about {steps / once:.0f} times; more helps if curves still rise.",
    )


def _unit(f: Fingerprint) -> str:
    return "mm" if f.ndim == 3 else "m"


def _by(values: Sequence[float]) -> str:
    return " × ".join(f"{v:.4g}" for v in values)
