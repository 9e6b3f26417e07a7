"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("segflow", "tensorflow", "keras", "openvino", "prefect", "rasterio", "numpy", "numba")
#: Processor features that decide which arithmetic is fast.
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe_machine() -> dict[str, str]:
    """Processor, cores, memory, system and versions, in words."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    versions = [f"{name} {found}" for name in LIBRARIES if (found := _version(name))]
    return {
        "processor": _processor(),
        "cores": str(len(cores)),
        "memory": f"{memory / 2**30:.0f} GiB",
        "load at start": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(versions),
    }


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        return platform.processor() or "unknown"
    lines = dict(
        [part.strip() for part in line.split(":", 1)] for line in file.read_text().splitlines() if ":" in line
    )
    flags = lines.get("flags", "").split()
    known = " ".join(f for f in FEATURES if f in flags)
    return f"{lines.get('model name', platform.machine())} ({known or 'no vector features listed'})"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
