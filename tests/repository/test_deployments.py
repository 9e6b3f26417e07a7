"""deployments/prefect.yaml says what Prefect itself accepts, about a flow that exists."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy._models import PrefectYamlModel

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deployments" / "prefect.yaml"


def with_schedule() -> str:
    """The file as it reads once its user has taken the "#" away from the schedule."""
    text = FILE.read_text(encoding="utf-8")
    head, tail = text.split("    # schedules:", 1)
    return head + re.sub(r"^    # ", "    ", "    # schedules:" + tail, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "text", [FILE.read_text(encoding="utf-8"), with_schedule()], ids=["as-is", "scheduled"]
)
def test_prefect_accepts_it(text: str) -> None:
    model = PrefectYamlModel.model_validate(yaml.safe_load(text))
    (deployment,) = model.deployments
    assert deployment.name == "segment-image"
    assert deployment.work_pool is not None
    assert deployment.work_pool.name == "segflow"


def test_the_schedule_is_one() -> None:
    (schedule,) = yaml.safe_load(with_schedule())["deployments"][0]["schedules"]
    assert schedule["cron"]
    assert set(schedule["parameters"]) <= flow_parameters()


def test_entrypoint_and_parameters_exist() -> None:
    deployment = yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"][0]
    file, _, function = deployment["entrypoint"].partition(":")
    assert function in {node.name for node in functions(ROOT / file)}
    assert set(deployment["parameters"]) <= flow_parameters()


def functions(file: Path) -> list[ast.FunctionDef]:
    return [
        node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
    ]


def flow_parameters() -> set[str]:
    (flow,) = [f for f in functions(ROOT / "flows" / "image.py") if f.name == "segment_image"]
    arguments: list[Any] = [*flow.args.args, *flow.args.kwonlyargs]
    return {argument.arg for argument in arguments}
