"""``python -m benchmarks.architectures``: parameters, stride, radius and speed of every architecture at full width.

Writes the table between two marks of ``docs/models.md``. Each row is measured by a process of its own and kept
under ``build/models-table/``, so that a run that was stopped continues; ``--again`` measures all anew.
Weights are random: speed and stride do not depend on them, the radius does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ROOT
from benchmarks.machine import describe_machine

DOCUMENT = ROOT / "docs" / "models.md"
START, END = "<!-- models-table: written by make models-table -->", "<!-- end of models-table -->"
CLASSES = 4
#: Image channels, tile and side of the golden input, by number of axes.
SHAPES = {2: (3, 256, 64), 3: (1, 64, 32)}
#: Time of one engine: the fastest run of this many seconds.
SECONDS = 2.0


@dataclass(frozen=True)
class Entry:
    """One row: an architecture on a backbone (empty where it has none)."""

    name: str
    ndim: int
    backbone: str = ""


ENTRIES = (
    Entry("unet", 2),
    Entry("residual_unet", 2),
    Entry("segnet", 2),
    Entry("fcn8", 2, "vgg16"),
    Entry("pspnet", 2, "resnet50"),
    Entry("deeplab_v3", 2, "resnet50"),
    Entry("deeplab_v3_plus", 2, "resnet50"),
    Entry("deeplab_v3_plus", 2, "mobilenet_v2"),
    Entry("unet", 3),
    Entry("residual_unet", 3),
    Entry("context_unet", 3),
    Entry("context_unet", 2),
    Entry("fcn32", 2, "vgg16"),
    Entry("fcn16", 2, "vgg16"),
    Entry("fcn8", 2, "resnet50"),
    Entry("fcn8", 2, "mobilenet_v2"),
    Entry("pspnet", 2, "mobilenet_v2"),
    Entry("pspnet", 2, "plain"),
    Entry("deeplab_v3", 2, "mobilenet_v2"),
    Entry("deeplab_v3", 2, "plain"),
    Entry("deeplab_v3_plus", 2, "vgg16"),
    Entry("deeplab_v3_plus", 2, "plain"),
)


def main() -> int:
    """Measures what is not yet known, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help="measure every row anew")
    parser.add_argument("--seconds", type=float, help="start no further row after this time")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "models-table")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(Entry(**json.loads(asked.one)))))
        return 0
    asked.work.mkdir(parents=True, exist_ok=True)
    begin, rows = time.monotonic(), []
    for entry in ENTRIES:
        file = asked.work / f"{entry.name}-{entry.ndim}d-{entry.backbone or 'own'}.json"
        late = asked.seconds is not None and time.monotonic() - begin > asked.seconds
        if not late and (asked.again or not file.is_file()):
            print(f"[{time.monotonic() - begin:5.0f} s] {file.stem}", file=sys.stderr, flush=True)
            _measure_apart(entry, file)
        if file.is_file():
            rows.append(json.loads(file.read_text(encoding="utf-8")))
    write_table(rows)
    print(f"{len(rows)} of {len(ENTRIES)} rows in {DOCUMENT}", file=sys.stderr)
    return int(len(rows) < len(ENTRIES))


def _measure_apart(entry: Entry, file: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.architectures", "--one", json.dumps(asdict(entry))]
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
    }
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        print(f"{file.stem} failed:\n{done.stderr[-1000:]}", file=sys.stderr)
        return
    file.write_text(done.stdout.splitlines()[-1] + "\n", encoding="utf-8")


def measure(entry: Entry) -> dict[str, Any]:
    """Builds one entry at full width and measures it on the engine that ``auto`` takes."""
    import keras

    from benchmarks.models import card
    from segmodels.bundles.write import write_bundle
    from segmodels.engines.opening import open_engine
    from segmodels.receptive import receptive_radius
    from segmodels.registry import build, strides

    keras.utils.set_random_seed(7)
    channels, side, small = SHAPES[entry.ndim]
    options = {"backbone": entry.backbone} if entry.backbone else {}
    model = build(entry.name, channels=channels, classes=CLASSES, ndim=entry.ndim, **options)
    step, tile = strides(model), (side,) * entry.ndim
    rng = np.random.default_rng(0)
    golden = rng.normal(size=(1, *(small,) * entry.ndim, channels)).astype(np.float32)
    radius = receptive_radius(
        lambda x: np.asarray(model(x, training=False)), golden, tile=tile, stride=max(step), seeds=1
    )
    made = card(
        entry.name.replace("_", "-"),
        ndim=entry.ndim,  # type: ignore[arg-type]
        classes=CLASSES,
        channels=channels,
        tile=tile,
        stride=max(step),
        receptive_radius=radius,
        agreement=0.5,  # the classes of random weights are near ties; only the speed is wanted
    )
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(Path(folder) / "bundle", card=made, model=model, golden_input=golden)
        engine = open_engine(bundle, batch=1, tile=tile)
    x = np.ascontiguousarray(rng.normal(size=(1, *tile, channels)), np.float32)
    engine.logits(x)
    best, begin = np.inf, time.perf_counter()
    while time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        engine.logits(x)
        best = min(best, time.perf_counter() - start)
    return {
        **asdict(entry),
        "parameters": int(model.count_params()),
        "strides": step,
        "radius": radius,
        "pixels_per_second": side**entry.ndim / float(best),
        "engine": f"{engine.library.split(',')[0]} {engine.precision}",
    }


def table(rows: list[dict[str, Any]], machine: dict[str, str]) -> str:
    """The table as Markdown, with the machine above it."""
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}; load at start "
        f"{machine['load at start']}.",
        "",
        "| architecture | axes | backbone | parameters | stride | radius | Mpixel/s | engine |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda r: (r["ndim"], r["name"], r["backbone"])):
        lines.append(
            f"| `{row['name']}` | {row['ndim']} | {row['backbone'] or '–'} | {row['parameters'] / 1e6:.1f} M "
            f"| {_by(row['strides'])} | {_by(row['radius'])} | {row['pixels_per_second'] / 1e6:.3g} "
            f"| {row['engine']} |"
        )
    return "\n".join(lines)


def _by(numbers: list[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else " × ".join(map(str, numbers))


def write_table(rows: list[dict[str, Any]]) -> None:
    """Puts the table between its marks in the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    middle = table(rows, describe_machine())
    DOCUMENT.write_text(f"{before}{START}\n\n{middle}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
