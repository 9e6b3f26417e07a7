"""Two cheap rows, very small: the command's table and file, and that its ratios are those of its times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_rows(tmp_path: Path) -> None:
    arguments = ["--rows", "noop,decoded", "--scale", "0.0007", "--repeats", "2"]
    folders = ["--work", tmp_path / "work", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments, *map(str, folders)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (tmp_path / "out").glob("*.json")
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["settings"] == {"rows": ["noop", "decoded"], "repeats": 2, "scale": 0.0007}
    assert {"processor", "cores", "versions"} <= set(kept["machine"])

    copy, _ = kept["rows"]["noop"]
    times = copy["details"]
    expected = [c / s for c, s in zip(times["copy s"], times["segflow s"], strict=True)]
    assert copy["values"] == pytest.approx(expected, rel=0.02)  # the details are rounded to milliseconds
    assert copy["median"] == pytest.approx(sum(copy["values"]) / 2)
    parts = [times[f"of it {stage}"] for stage in ("plan", "segment", "stitch")]
    assert [sum(part) for part in zip(*parts, strict=True)] == pytest.approx(times["segflow s"], abs=0.01)

    (decoded,) = kept["rows"]["decoded"]
    assert decoded["median"] >= 1  # each block of the file once, at the least
    assert file.with_suffix(".md").read_text(encoding="utf-8") in done.stdout
    assert not (tmp_path / "work" / "out").exists()


def test_an_unknown_row_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--rows", "run2d,nosuch"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "there is no row nosuch" in done.stderr
