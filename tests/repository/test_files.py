"""The checkout holds nothing of one machine, and its entry points are in order."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = {
    ".git",
    ".venv",
    ".venv-peers",
    "demo-out",
    "results",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    "build",
}
TEXT = {".py", ".toml", ".txt", ".md", ".yaml", ".yml", ".json", ".html", ".css", ".j2", ".cfg", "", ".sh"}


def text_files() -> list[Path]:
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.endswith(".egg-info")]
        found += [Path(folder, name) for name in names if Path(name).suffix in TEXT]
    return sorted(found)


def test_no_path_of_one_machine() -> None:
    personal = re.compile(r"(?<![\w.~/\]$])/(?:root|work|home/\w+|Users/\w+)/")
    for file in text_files():
        if file == Path(__file__):
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # not a text file, whatever its name
        for number, line in enumerate(text.splitlines(), 1):
            assert not personal.search(line), f"{file.relative_to(ROOT)}:{number}: {line.strip()}"


@pytest.mark.parametrize("name", [".ci/run", ".ci/install"])
def test_scripts_can_be_run(name: str) -> None:
    script = ROOT / name
    assert os.access(script, os.X_OK)
    shell = script.read_text(encoding="utf-8").splitlines()[0].removeprefix("#!").split()[-1].split("/")[-1]
    subprocess.run([shell, "-n", script], check=True)


def test_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    said = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in set(phony.split()) - {"help"}:
        assert target in said


def test_old_python_is_refused_in_one_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.6" && exit 0\nexit 1\n', encoding="utf-8"
    )
    old.chmod(0o755)
    for name in ("requirements-pip.txt", "requirements-demo.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "install"
    script.write_bytes((ROOT / ".ci" / "install").read_bytes())
    done = subprocess.run(
        ["sh", script, "demo"],
        env={**os.environ, "PYTHON": str(old)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert re.fullmatch(r"segflow: Python 3\.11, 3\.12 or 3\.13 is needed .*Python 3\.9\.6.*\n", done.stderr)
    assert not (tmp_path / ".venv").exists()
