"""The ``segflow`` command in a process of its own, with a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Settings
from benchmarks.memory import PeakMemory

#: Exit codes of a run whose result is published: done, partial, suspect.
PUBLISHED = (0, 4, 5)
#: Stages before the first block starts.
BEFORE_BLOCKS = ("plan", "statistics", "probe")


@dataclass(frozen=True)
class Ran:
    """A finished ``segflow run``.

    Attributes:
        wall: Seconds from the start of the process to its end.
        seconds: Seconds that the run itself says it took, imports excluded.
        record: Its ``run.json``.
        peak: Peak memory of the process tree in bytes, 0 if not sampled.
    """

    wall: float
    seconds: float
    record: dict[str, Any]
    peak: int

    @property
    def from_first_block(self) -> float:
        """Seconds from the first block's start to the published result."""
        return self.seconds - sum(self.record["timings"].get(name, 0.0) for name in BEFORE_BLOCKS)

    def stages(self, *names: str) -> float:
        """Seconds of some stages together."""
        return sum(float(self.record["timings"].get(name, 0.0)) for name in names)

    @property
    def engine(self) -> str:
        """Library and precision, in words."""
        return f"{self.record['engine']['library']} {self.record['engine']['precision']}"


def environment(home: Path, **more: str) -> dict[str, str]:
    """Caches and Prefect's folder in ``home``, this checkout's code first, no server configured."""
    dropped = ("PREFECT_", "SEGFLOW")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    folders = {"HOME": home, "XDG_CACHE_HOME": home / "cache", "PREFECT_HOME": home / "prefect"}
    paths = [str(ROOT), kept.get("PYTHONPATH", "")]
    home.mkdir(parents=True, exist_ok=True)
    return {
        **kept,
        **{name: str(folder) for name, folder in folders.items()},
        "PYTHONPATH": os.pathsep.join(p for p in paths if p),
        **more,
    }


def segflow_run(
    settings: Settings,
    image: Path,
    bundle: Path,
    *options: object,
    direct: bool = True,
    sampled: bool = False,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Runs ``segflow run`` into a fresh output folder, which is removed again.

    Args:
        settings: Where caches and outputs go.
        image: The input.
        bundle: The model.
        options: Further arguments.
        direct: Whether to run without Prefect.
        sampled: Whether to sample the memory of the process tree.
        home: Where caches are, by default the one that all rows share.
        env: Further environment variables.

    Raises:
        RuntimeError: The command failed; its last words are in the text.
    """
    out = settings.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    arguments = ["run", image, "--model", bundle, "--out", out, "--json", *options]
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments), *(["--direct"] if direct else [])]
    begin = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(home or settings.work / "home", **(env or {})),
    ) as process:
        memory = PeakMemory(process) if sampled else None
        output, error = process.communicate()
        peak = memory.stop() if memory else 0
    wall = time.perf_counter() - begin
    if process.returncode not in PUBLISHED:
        raise RuntimeError(f"segflow exited with {process.returncode}: {last_words(output, error)}")
    answer = json.loads(output)
    record = json.loads((Path(answer["out"]) / "run.json").read_text(encoding="utf-8"))
    shutil.rmtree(out, ignore_errors=True)
    return Ran(wall, float(answer["seconds"]), record, peak)


def program(
    settings: Settings, module: str, *arguments: object, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Runs a module of the benchmarks as a program and reads the JSON object that it prints last.

    Raises:
        RuntimeError: It failed; its last words are in the text.
    """
    return called([sys.executable, "-m", module, *map(str, arguments)], settings, env=env)


def called(
    command: Sequence[str], settings: Settings, *, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Runs a command and reads the JSON object on its last line of output.

    Raises:
        RuntimeError: It failed; its last words are in the text.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(settings.work / "home", **(env or {})),
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:4])} failed: {last_words(done.stdout, done.stderr)}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def last_words(output: str, error: str) -> str:
    """What a failed command said last."""
    lines = [line for line in (output + "\n" + error).splitlines() if line.strip()]
    return " ".join(lines[-2:])[-400:] if lines else "nothing was said"
