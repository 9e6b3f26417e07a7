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
    schedule, rest = tail.split("\n\n", 1)
    schedule = re.sub(r"^    # ", "    ", "    # schedules:" + schedule, flags=re.MULTILINE)
    return f"{head}{schedule}\n\n{rest}"


@pytest.mark.parametrize(
    "text", [FILE.read_text(encoding="utf-8"), with_schedule()], ids=["as-is", "scheduled"]
)
def test_prefect_accepts_it(text: str) -> None:
    model = PrefectYamlModel.model_validate(yaml.safe_load(text))
    assert [d.name for d in model.deployments] == ["segment-image", "segment-batch", "train-model", "evaluate-dataset"]
    for deployment in model.deployments:
        assert deployment.work_pool is not None
        assert deployment.work_pool.name == "segflow"


def test_the_schedule_is_one() -> None:
    (schedule,) = yaml.safe_load(with_schedule())["deployments"][0]["schedules"]
    assert schedule["cron"]
    assert set(schedule["parameters"]) <= flow_parameters("flows/image.py:segment_image")


@pytest.mark.parametrize("deployment", yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"])
def test_entrypoint_and_parameters_exist(deployment: dict[str, Any]) -> None:
    assert set(deployment.get("parameters", {})) <= flow_parameters(deployment["entrypoint"])


def test_the_readme_starts_deployments_with_what_their_flows_take() -> None:
    text = (ROOT / "deployments" / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    entrypoints = {
        d["name"]: d["entrypoint"] for d in yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]
    }
    started = re.findall(r"deployment run [\w-]+/([\w-]+)(.*)", text)
    assert [name for name, _ in started] == list(entrypoints)
    for name, options in started:
        assert set(re.findall(r"--param (\w+)=", options)) <= flow_parameters(entrypoints[name])


def flow_parameters(entrypoint: str) -> set[str]:
    file, _, function = entrypoint.partition(":")
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    (flow,) = [f for f in body if isinstance(f, ast.FunctionDef) and f.name == function]
    arguments: list[Any] = [*flow.args.args, *flow.args.kwonlyargs]
    return {argument.arg for argument in arguments}
