"""Twenty kills of the two hundred that ``make chaos`` makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_run_survives_any_kill() -> None:
    # A process of its own: it forks, and so must not have pytest's threads.
    script = Path(__file__).with_name("chaos.py")
    done = subprocess.run(
        [sys.executable, script, "--kills", "20", "--seed", "20"],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"at a named point": ' in done.stdout
