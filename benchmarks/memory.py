"""Peak memory of a process tree: proportional set size, so that shared pages count once."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import psutil

from benchmarks.harness import UnavailableError


class PeakMemory:
    """Samples a process and all its descendants in a thread until it ends.

    Args:
        process: The root of the tree.
        every: Seconds between samples.
    """

    def __init__(self, process: subprocess.Popen[str], *, every: float = 0.1) -> None:
        self.peak = 0
        self.samples = 0
        self._root = psutil.Process(process.pid)
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Ends the sampling; the peak in bytes."""
        self._stop.set()
        self._thread.join()
        return self.peak

    def _sample(self) -> None:
        while not self._stop.wait(self._every):
            total = tree_pss(self._root)
            self.samples += total > 0
            self.peak = max(self.peak, total)


def can_measure_memory() -> None:
    """Raises :class:`UnavailableError` where the system does not tell the proportional set size."""
    if not Path("/proc/self/smaps_rollup").is_file():
        raise UnavailableError("the proportional set size of a process tree is known on Linux only")


def tree_pss(root: psutil.Process) -> int:
    """Bytes of a process and its descendants; those that end meanwhile count 0."""
    try:
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_pss(p.pid) for p in tree)


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0  # it ended
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
