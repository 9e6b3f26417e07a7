"""Compiled code is kept where it can be, and nothing that happens to its files ends a call."""

from __future__ import annotations

import importlib.util
import logging
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = """
from tasks.compiled import compiled


@compiled(boundscheck=False)
def twice(x):
    return {factor} * x
"""


def kernels(folder: Path, name: str = "kernels", *, factor: int = 2) -> ModuleType:
    """A new module with one kernel, as an import of it in a new process would make it."""
    file = folder / f"{name}.py"
    file.write_text(SOURCE.format(factor=factor))
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hits(module: ModuleType) -> int:
    return sum(module.twice.stats.cache_hits.values())


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from tasks.compiled import _say_once

    _say_once.cache_clear()
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "user" / name))
    return tmp_path / "user"


def test_compiled_code_lies_beside_the_source_and_is_found_again(tmp_path: Path, own_cache: Path) -> None:
    assert kernels(tmp_path).twice(3) == 6
    assert list((tmp_path / "__pycache__").glob("*.nbc"))
    again = kernels(tmp_path)
    assert again.twice(3) == 6
    assert hits(again) == 1
    assert not own_cache.exists()


def test_a_package_that_cannot_be_written_is_cached_for_the_user(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "__pycache__").write_text("a file where a folder must be: as read-only, to root as well")
    assert kernels(tmp_path).twice(3) == 6
    assert list(own_cache.rglob("*.nbc"))
    again = kernels(tmp_path)
    assert again.twice(3) == 6
    assert hits(again) == 1


def test_with_nothing_writable_it_compiles_and_says_so_once(
    tmp_path: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "__pycache__").write_text("")
    own_cache.write_text("")
    with caplog.at_level(logging.WARNING):
        assert kernels(tmp_path, "first").twice(3) == 6
        assert kernels(tmp_path, "second").twice(1.5) == 3.0
    (record,) = caplog.records
    assert "compiles it again" in record.getMessage()


def test_a_write_that_fails_does_not_end_the_call(tmp_path: Path) -> None:
    """A limit on file sizes makes the second of numba's two files fail, as a full disk does."""
    (tmp_path / "kernels.py").write_text(SOURCE.format(factor=2))
    program = (
        "import resource, kernels; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, {resource.RLIM_INFINITY})); "
        "print(kernels.twice(3))"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "6\n"), done.stderr
    assert "File too large" in done.stderr
    again = kernels(tmp_path)
    assert again.twice(3) == 6


def test_code_of_another_version_is_never_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills between numba's two files leaves a new index beside the old code."""
    from numba.core.caching import IndexDataCacheFile

    assert kernels(tmp_path, factor=2).twice(3) == 6

    def full(self: IndexDataCacheFile, name: str, data: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(IndexDataCacheFile, "_save_data", full)
        assert kernels(tmp_path, factor=5).twice(3) == 15
    assert kernels(tmp_path, factor=5).twice(3) == 15


def test_a_torn_file_is_compiled_anew(tmp_path: Path) -> None:
    kernels(tmp_path).twice(3)
    for file in (tmp_path / "__pycache__").iterdir():
        file.write_bytes(file.read_bytes()[:20])
    assert kernels(tmp_path).twice(3) == 6
    again = kernels(tmp_path)
    assert again.twice(3) == 6
    assert hits(again) == 1
