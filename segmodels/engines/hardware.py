"""What a machine has to compute with, asked without importing any library."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

#: Engines that take a GPU where there is one and their library sees it.
ON_GPU = ("tensorflow", "jax", "torch", "onnx")
_CPUINFO = Path("/proc/cpuinfo")


def cpu_model() -> str:
    """Name of the processor, as exact as the system tells it."""
    return _cpu_field("model name") or platform.processor() or platform.machine()


def cpu_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; elsewhere it would be slower than float32."""
    return bool({"avx512_bf16", "amx_bf16"} & set(_cpu_field("flags").split()))


def trains_in_bfloat16() -> bool:
    """Whether mixed bfloat16 is the faster way to train here: on every GPU, or on the CPU where there is none."""
    if not has_nvidia():
        return cpu_bfloat16()
    found = _ask_gpus("compute_cap")
    # tensor cores take bfloat16 from compute capability 8.0 on
    return bool(found) and all(float(c) >= 8.0 for c in found)


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_nvidia() -> bool:
    """Whether an NVIDIA GPU is present and not hidden from this process."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1") or sys.platform == "darwin":
        return False
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


def gpu_names() -> tuple[str, ...]:
    """The NVIDIA GPUs of this machine by name, in the driver's order; empty if there is none."""
    return _ask_gpus("name")


def _ask_gpus(field: str) -> tuple[str, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None or not has_nvidia():
        return ()
    command = [tool, f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip() and not done.returncode)


def _cpu_field(name: str) -> str:
    if not _CPUINFO.is_file():
        return ""
    for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
