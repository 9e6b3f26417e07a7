"""Imports go one way, flows → tasks → segmodels, and only the faces of steps know Prefect."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(file for folder in ("segmodels", "tasks", "flows") for file in (ROOT / folder).rglob("*.py"))

# What the shared model package must not know: the steps, the scheduler, and every format of imagery.
FOREIGN_TO_MODELS = {
    "flows", "tasks", "deployments", "benchmarks", "prefect", "prefect_dask", "dask", "distributed", "rasterio", "osgeo",
    "nibabel", "geopandas", "pyogrio", "shapely", "pystac", "zarr", "typer",
}  # fmt: skip


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level package of every import in a file, those inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively; write the whole name"
            yield node.lineno, (node.module or "").split(".")[0]


def forbidden(file: Path) -> set[str]:
    parts = file.relative_to(ROOT).parts
    if parts[0] == "segmodels":
        return FOREIGN_TO_MODELS
    if parts[0] == "tasks":
        is_face = len(parts) == 3 and parts[2] == "task.py"
        return {"flows", "benchmarks"} if is_face else {"flows", "benchmarks", "prefect", "prefect_dask"}
    return {"benchmarks"}


def test_there_are_files_to_look_at() -> None:
    assert {file.relative_to(ROOT).parts[0] for file in FILES} == {"segmodels", "tasks", "flows"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_one_way(file: Path) -> None:
    broken = [f"line {line}: {name}" for line, name in imported(file) if name in forbidden(file)]
    assert not broken, f"{file.relative_to(ROOT)} must not import {', '.join(broken)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_is_one_idea(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400, "split this file: more than 400 lines is more than one idea"
    assert not text.strip() or file.name.startswith("_") or ast.get_docstring(ast.parse(text)), (
        "a module starts by saying what it is for"
    )
