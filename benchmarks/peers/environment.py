"""The peers' own virtual environment: torch, MONAI and segmentation_models.pytorch are not what segflow needs."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.harness import ROOT, UnavailableError

FOLDER = ROOT / ".venv-peers"
REQUIREMENTS = ROOT / "requirements-peers.txt"
PIP = ROOT / "requirements-pip.txt"


def peers_python(folder: Path = FOLDER) -> Path:
    """The interpreter of the peers' environment, which is made or brought up to date first.

    Raises:
        UnavailableError: It cannot be installed on this machine.
    """
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + PIP.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(
        f"Installing torch, MONAI and segmentation_models.pytorch into {folder.name}: minutes",
        file=sys.stderr,
    )
    venv.EnvBuilder(with_pip=True, clear=True).create(folder)
    _pip(python, "--require-hashes", "-r", str(PIP))
    # The file is complete; pip need not look for what its packages name.
    _pip(python, "--require-hashes", "--no-deps", "-r", str(REQUIREMENTS))
    done = _call(python, "-c", "import monai; from benchmarks.peers.smp import import_smp; import_smp()")
    if done.returncode:
        raise UnavailableError(f"the peers cannot be imported: {_last(done.stderr)}")
    stamp.write_text(wanted)
    return python


def _pip(python: Path, *arguments: str) -> None:
    done = _call(
        python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *arguments
    )
    if done.returncode:
        raise UnavailableError(
            f"pip could not install {Path(arguments[-1]).name} ({_last(done.stderr)}); on Linux it needs Python 3.11 on "
            "x86-64 and torch's CPU build: name where pip finds that in PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS"
        )


def _call(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=ROOT)


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    return lines[-1].strip() if lines else "no reason given"
