"""Every engine of a machine tried on one bundle: what it sees, whether it agrees, how fast it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from segmodels.bundles.bundle import Bundle
from segmodels.engines.hardware import ON_GPU, cpu_bfloat16, cpu_count, cpu_model, gpu_names
from segmodels.engines.loading import able_engines, installed
from segmodels.engines.measure import Measurement, measure


@dataclass(frozen=True)
class Machine:
    """What there is to compute with.

    Attributes:
        cpu: Name of the processor.
        cores: Cores that this process may use.
        bfloat16: Whether the processor multiplies bfloat16 itself.
        gpus: NVIDIA GPUs by name.
    """

    cpu: str
    cores: int
    bfloat16: bool
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One engine at one precision on one device.

    Attributes:
        device: ``cpu``, or ``gpu0``, ``gpu1`` …
        seen: What the library itself sees there.
        measured: What came of it.
        pixels: Pixels of the measured batch.
    """

    device: str
    seen: tuple[str, ...]
    measured: Measurement
    pixels: int

    @property
    def mpixels_per_second(self) -> float | None:
        """Arrays in, logits out; None if refused."""
        seconds = self.measured.seconds
        return None if not math.isfinite(seconds) else self.pixels / seconds / 1e6

    @property
    def bare_fraction(self) -> float | None:
        """Share of the speed of the library's own call with everything on the device; None if refused."""
        bare = self.measured.bare_seconds
        return None if bare is None else bare / self.measured.seconds

    def as_json(self) -> dict[str, Any]:
        """JSON-able."""
        m = self.measured
        return {
            "device": self.device,
            "seen": list(self.seen),
            "engine": m.engine,
            "precision": m.precision,
            "library": m.library,
            "agrees": m.refused is None,
            "refused": m.refused,
            "mpixels_per_second": self.mpixels_per_second,
            "bare_fraction": self.bare_fraction,
        }


def look_at_machine() -> Machine:
    """Asks the system; imports no library."""
    return Machine(cpu_model(), cpu_count(), cpu_bfloat16(), gpu_names())


def check_engines(
    bundle: Bundle, machine: Machine, *, batch: int, tile: tuple[int, ...]
) -> tuple[list[Row], list[str]]:
    """Runs the bundle on every installed engine that can run it, on the CPU and on each GPU.

    Returns:
        The rows, and the engines that could run it but are not installed.
    """
    able = able_engines(bundle)
    pixels = batch * math.prod(tile)
    rows = []
    for engine in (name for name in able if installed(name)):
        for device, environment in _devices(engine, machine):
            fast = machine.bfloat16 or device != "cpu"
            coarser = ["bfloat16"] if fast and engine not in ("method", "onnx", "jax") else []
            if engine == "jax" and device != "cpu":
                coarser = ["bfloat16"]
            found = measure(
                bundle,
                engine,
                ["float32", *coarser],
                batch=batch,
                tile=tile,
                bare=True,
                environment=environment,
            )
            rows += [
                Row(device, found.devices, _on_device(row, device, found.devices), pixels)
                for row in found.rows
            ]
    return rows, [name for name in able if not installed(name)]


def _devices(engine: str, machine: Machine) -> list[tuple[str, dict[str, str]]]:
    """Each device with the variables that show a process nothing else."""
    hidden = [("cpu", {"CUDA_VISIBLE_DEVICES": "-1"})]
    if engine not in ON_GPU:
        return hidden
    return hidden + [(f"gpu{i}", {"CUDA_VISIBLE_DEVICES": str(i)}) for i in range(len(machine.gpus))]


def _on_device(row: Measurement, device: str, seen: tuple[str, ...]) -> Measurement:
    """Refuses what was meant for a GPU and ran elsewhere."""
    on_gpu = any(not name.lower().startswith(("cpu", "azure")) for name in seen)
    if device == "cpu" or on_gpu or row.refused is not None:
        return row
    reason = "it does not see this GPU: install it with its CUDA libraries"
    return replace(row, seconds=math.inf, bare_seconds=None, refused=reason)
