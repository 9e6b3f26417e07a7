"""A resume goes on with the engine, precision and layout that the unfinished run began with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from segmodels.bundles.write import write_bundle
from segmodels.errors import EngineError
from segmodels.methods.method import Linear
from tasks.blocks.blockfile import BlockWriter, block_path
from tasks.imagery.source import Source
from tasks.planning import build
from tasks.planning.plan import Parameters, Plan
from tasks.planning.request import Request
from tasks.planning.step import Planned, plan_item


@dataclass
class Measured:
    """Stands for the engines of a machine whose measurements differ from start to start."""

    precision: str
    library: str = "library 1"
    missing: str = ""

    def open(self, plan: Plan) -> Any:
        if plan.engine and plan.precision == self.missing:
            raise EngineError("it is not installed")
        precision = plan.precision or self.precision
        return type("Engine", (), {"name": "method", "precision": precision, "library": self.library})()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Measured:
    machine = Measured("float32")
    monkeypatch.setattr(build, "engine_for", machine.open)
    return machine


@pytest.fixture
def request_(tmp_path: Path, make_card: Callable[..., Any]) -> Request:
    image = tmp_path / "x.tif"
    with rasterio.open(
        image, "w", driver="GTiff", height=100, width=90, count=1, dtype="uint8", crs="EPSG:32632",
        transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as target:  # fmt: skip
        target.write(np.random.default_rng(1).integers(1, 99, (100, 90), dtype="uint8"), 1)
    classes = 12
    linear = Linear(weights=((1.0,),) * classes, bias=tuple(float(i) for i in range(classes)))
    bundle = write_bundle(
        tmp_path / "bundle",
        card=make_card(classes, ndims=(2,), tile=(16, 16), overlap=0.25),
        method=linear,
        golden_input=np.zeros((1, 16, 16, 1), np.float32),
    )
    return Request(image=Source.of(image), model=str(bundle.path), out=tmp_path / "out", item="x", block=32)


def leave_blocks(planned: Planned, count: int) -> None:
    """As a run that was killed after so many blocks."""
    for number in planned.todo[:count]:
        with block_path(planned.work.blocks, number).open("wb") as stream:
            BlockWriter(stream).close(failures=[])


def test_a_resume_takes_the_precision_that_the_run_began_with(request_: Request, machine: Measured) -> None:
    first = plan_item(request_)
    leave_blocks(first, 1)
    machine.precision = "bfloat16"
    again = plan_item(request_)
    assert again.work.key == first.work.key
    assert Plan.load(again.work.plan).precision == "float32"
    assert len(again.todo) == first.blocks - 1


def test_a_resume_keeps_blocks_and_borders(request_: Request, machine: Measured) -> None:
    first = plan_item(request_)
    leave_blocks(first, 3)
    again = plan_item(replace(request_, block=None))
    assert again.work.key == first.work.key
    assert len(again.todo) == first.blocks - 3


def test_where_no_block_is_finished_the_choice_is_free(request_: Request, machine: Measured) -> None:
    plan_item(request_)
    machine.precision = "bfloat16"
    assert Plan.load(plan_item(request_).work.plan).precision == "bfloat16"


@pytest.mark.parametrize("change", [{"library": "library 2"}, {"missing": "float32"}])
def test_what_cannot_go_on_is_said(
    request_: Request, machine: Measured, change: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    leave_blocks(plan_item(request_), 2)
    machine.precision = "bfloat16"
    for name, value in change.items():
        setattr(machine, name, value)
    again = plan_item(request_)
    assert Plan.load(again.work.plan).precision == "bfloat16"
    assert len(again.todo) == again.blocks
    assert "finished blocks (2) are computed again" in caplog.text


@pytest.mark.parametrize("change", [{"force": True}, {"parameters": Parameters(tile=(32, 32))}])
def test_another_run_is_no_resume(request_: Request, machine: Measured, change: dict[str, Any]) -> None:
    leave_blocks(plan_item(request_), 1)
    machine.precision = "bfloat16"
    again = plan_item(replace(request_, **change))
    assert Plan.load(again.work.plan).precision == "bfloat16"
    assert len(again.todo) == again.blocks
