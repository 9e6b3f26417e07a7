"""A Dask cluster of this machine, made by a run and ended with it."""

from __future__ import annotations

import logging
import os
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from distributed import Nanny, Scheduler, SpecCluster
from distributed.security import Security

from segmodels.engines.threads import THREADS

_LOOPBACK = "127.0.0.1"


def local_cluster(workers: int) -> Any:
    """Starts a scheduler in this process and ``workers`` spawned processes of one thread each.

    Everything listens on the loopback interface, on free ports, and takes only who holds the run's own
    keys: whoever may talk to a Dask worker may run any code as its user, and machines have many users.

    Args:
        workers: Processes; they share the processor's cores, and its GPUs one each in turn.
    """
    _start_quiet_tracker()
    security = Security.temporary()
    # Still heard with --debug, which sets the root logger's level.
    quiet = logging.CRITICAL if not logging.getLogger("segflow").isEnabledFor(logging.DEBUG) else logging.INFO
    common: dict[str, Any] = {
        "host": _LOOPBACK,
        "protocol": "tls://",
        "security": security,
        "dashboard": False,
        "dashboard_address": f"{_LOOPBACK}:0",
    }
    gpus = visible_gpus()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    specification = {}
    for i in range(workers):
        environment = {THREADS: str(max(1, cores // workers))}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[i % len(gpus)]
        specification[i] = {
            "cls": Nanny,
            "options": {
                **common,
                "nthreads": 1,
                "env": environment,
                "resources": {"GPU": 1} if gpus else {},
                # Dask would pause and kill by its own guess; what a block holds is bounded by the plan.
                "memory_limit": 0,
                "silence_logs": quiet,
            },
        }
    return SpecCluster(
        scheduler={"cls": Scheduler, "options": {**common, "port": 0}},
        workers=specification,
        security=security,
        silence_logs=quiet,
        name="segflow",
    )


def _start_quiet_tracker() -> None:
    """Python's tracker of semaphores cleans up after a worker that died; it need not warn of that."""
    name = "PYTHONWARNINGS"
    before = os.environ.get(name)
    os.environ[name] = ",".join(filter(None, (before, "ignore:resource_tracker:UserWarning")))
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def visible_gpus() -> list[str]:
    """NVIDIA GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        named = [name.strip() for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
        return [name for name in named if name and name != "-1"]
    devices = Path("/dev").glob("nvidia[0-9]*")
    return [str(i) for i in range(sum(1 for _ in devices))]
