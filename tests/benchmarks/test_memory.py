"""The peak of a process tree, children included."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.memory import PeakMemory

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").is_file(), reason="Linux tells the proportional set size"
)
MIB = 1 << 20
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
HUNGRY = "import time; held = bytearray(b'x') * (200 << 20); time.sleep(1)"


def test_memory_of_a_grandchild_counts() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, HUNGRY], text=True) as process:
        memory = PeakMemory(process, every=0.02)
        assert process.wait() == 0
        peak = memory.stop()
    assert 200 * MIB < peak < 300 * MIB
