"""The real command in a process with an empty home, and bundles whose every pixel can be computed by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmodels.bundles.card import Card, ChannelCard, ClassCard
from segmodels.bundles.write import write_bundle
from segmodels.methods.method import Linear

COMMAND = Path(sys.executable).with_name("segflow")
COLOURS = ("#d9d3c3", "#1f78b4", "#b2182b")
NAMES = ("low", "middle", "high")


@dataclass(frozen=True)
class Ran:
    """What a command left behind; ``answer`` is its one JSON object, empty without ``--json``."""

    code: int
    answer: dict[str, Any]
    output: str
    error: str

    @property
    def complaints(self) -> list[str]:
        """Lines on standard error that are not log lines (``12:34:56 INFO …``)."""
        return [line for line in self.error.splitlines() if line and line[2:3] != ":"]

    @property
    def folder(self) -> Path:
        return Path(self.answer["out"])


@dataclass(frozen=True)
class Segflow:
    """The installed command; home, caches and Prefect's folder lie in ``home``, which begins empty."""

    home: Path
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "DO_NOT_TRACK", "SEGFLOW"))
        }
        folders = {
            "HOME": "",
            "XDG_CACHE_HOME": "cache",
            "XDG_CONFIG_HOME": "config",
            "PREFECT_HOME": "prefect",
        }
        return {**kept, **{k: str(self.home / v) for k, v in folders.items()}, **dict(self.extra)}

    def start(self, *arguments: object, cwd: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(COMMAND), *map(str, arguments)],
            cwd=cwd or self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: object, cwd: Path | None = None, timeout: float = 300) -> Ran:
        with self.start(*arguments, cwd=cwd) as process:
            try:
                output, error = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        return ran(process.returncode, output, error)

    def given(self, **extra: object) -> Segflow:
        """The same command with more in its environment."""
        return replace(self, extra=tuple((k, str(v)) for k, v in extra.items()))

    def run(self, image: Path, model: object, out: Path, *options: object) -> Ran:
        """``segflow run --direct --json``."""
        return self("run", image, "--model", model, "--out", out, "--direct", "--json", *options)


#: Imports what every run imports, once, and then runs each command in a process of its own, forked from there:
#: most of a short command's time is its imports.
DRIVER = """
import importlib, json, os, sys
from pathlib import Path
from flows.environment import prepare_environment

prepare_environment()
for name in ("flows.cli", "flows.commands.run", "flows.request", "flows.pipeline", "flows.runner", "flows.places",
             "tasks.planning.build", "tasks.publishing.record", "tasks.reports.html", "tasks.regions.tables"):
    importlib.import_module(name)
codes = []
for number, arguments in enumerate(json.loads(Path("commands.json").read_text())):
    child = os.fork()
    if not child:
        for descriptor in (1, 2):
            os.dup2(os.open(f"{number}.{descriptor}", os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv = ["segflow", *arguments]
        importlib.import_module("flows.cli").main()
        sys.exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
Path("codes.json").write_text(json.dumps(codes))
"""


def run_many(segflow: Segflow, commands: Sequence[Sequence[object]], folder: Path) -> list[Ran]:
    """Many short commands, two at a time, each in a process of its own that finds its imports done."""

    def some(first: int) -> list[Ran]:
        place = folder / str(first)
        place.mkdir()
        chosen = [[str(word) for word in command] for command in commands[first::2]]
        (place / "commands.json").write_text(json.dumps(chosen))
        subprocess.run(
            [sys.executable, "-c", DRIVER], cwd=place, env=segflow.environment, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=300, check=True,
        )  # fmt: skip
        codes = json.loads((place / "codes.json").read_text())
        return [
            ran(code, *((place / f"{i}.{descriptor}").read_text() for descriptor in (1, 2)))
            for i, code in enumerate(codes)
        ]

    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(some, range(2)))
    return [halves[i % 2][i // 2] for i in range(len(commands))]


def ran(code: int, output: str, error: str) -> Ran:
    answer = json.loads(output) if output.startswith("{") else {}
    return Ran(code, answer, output, error)


@pytest.fixture(scope="session")
def segflow(tmp_path_factory: pytest.TempPathFactory) -> Segflow:
    """The command with one home for all quick tests: what one run caches, the next may use."""
    return Segflow(tmp_path_factory.mktemp("home"))


@pytest.fixture
def fresh_segflow(tmp_path: Path) -> Segflow:
    """The command with a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    return Segflow(home)


def thresholds(levels: Sequence[float], *, channels: int, channel: int, steepness: float) -> Linear:
    """One or two levels on one channel: class 0 below the first, 1 above it, 2 above the second.

    Logits are polynomials in nothing: ``k·x - (sum of the first k levels)``, whose largest is the
    number of levels below x.
    """
    count = len(levels) + 1
    first = 1 if count == 2 else 0
    weights, bias = [], []
    for k in range(first, count):
        weights.append(tuple(steepness * k * (c == channel) for c in range(channels)))
        bias.append(-steepness * float(sum(levels[:k])))
    return Linear(weights=tuple(weights), bias=tuple(bias))


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A bundle that compares one channel with one or two levels; returns its folder."""

    def make(
        levels: Sequence[float] = (0.5,),
        *,
        channels: int = 1,
        channel: int = 0,
        ndims: tuple[int, ...] = (2,),
        steepness: float = 8.0,
        name: str = "levels",
        **fields: Any,
    ) -> Path:
        count = len(levels) + 1
        ndim = max(ndims)
        fields.setdefault("tile", (64,) * 2 if ndim == 2 else (32,) * 3)
        card = Card(
            name=name,
            ndims=ndims,
            classes=tuple(
                ClassCard(name=NAMES[k], code=k, colour=COLOURS[k], region=k > 0) for k in range(count)
            ),
            activation="sigmoid" if count == 2 else "softmax",
            channels=tuple(ChannelCard(name=f"c{i}") for i in range(channels)),
            **fields,
        )
        side = 2 * card.stride
        golden = np.linspace(-1, 1, side**ndim * channels, dtype=np.float32)
        method = thresholds(levels, channels=channels, channel=channel, steepness=steepness)
        folder = tmp_path_factory.mktemp("bundle") / name
        write_bundle(
            folder, card=card, method=method, golden_input=golden.reshape(1, *(side,) * ndim, channels)
        )
        return folder

    return make
