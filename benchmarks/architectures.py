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
from segmodels.bundles.bundle import Bundle, load_bundle
from segmodels.engines.choosing import best, candidates
from segmodels.engines.measure import Measurement, measure

DOCUMENT = ROOT / "docs" / "models.md"
START, END = "<!-- models-table: written by make models-table -->", "<!-- end of models-table -->"
CLASSES = 4
#: Image channels, tile and side of the golden input, by number of axes.
SHAPES = {2: (3, 256, 64), 3: (1, 64, 32)}


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
    Entry("fcn8", 2, "plain"),
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
    parser.add_argument("--bundle", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help="measure every row anew")
    parser.add_argument("--seconds", type=float, help="start no further row after this time")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "models-table")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(write_entry(Entry(**json.loads(asked.one)), asked.bundle)))
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
    """Builds in one process and measures in another, so that neither holds the other's weights."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        # Bundle and converted model have up to half a gigabyte each, which nobody needs again.
        variables = {"XDG_CACHE_HOME": folder, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"}
        command = [sys.executable, "-m", "benchmarks.architectures", "--one", json.dumps(asdict(entry))]
        done = subprocess.run(
            [*command, "--bundle", f"{folder}/bundle"],
            env={**os.environ, **variables, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        if done.returncode:
            print(f"{file.stem} failed:\n{done.stderr[-1000:]}", file=sys.stderr)
            return
        row = {**asdict(entry), **json.loads(done.stdout.splitlines()[-1])}
        fastest = _fastest(load_bundle(f"{folder}/bundle"), SHAPES[entry.ndim][1], variables)
    if isinstance(fastest, str):
        print(f"{file.stem} failed: {fastest}", file=sys.stderr)
        return
    row["pixels_per_second"] = SHAPES[entry.ndim][1] ** entry.ndim / fastest.seconds
    row["engine"] = f"{fastest.library.split(',')[0]} {fastest.precision}"
    file.write_text(json.dumps(row) + "\n", encoding="utf-8")


def _fastest(bundle: Bundle, side: int, variables: dict[str, str]) -> Measurement | str:
    """What ``auto`` would take for one tile, with its time; or why nothing runs the bundle."""
    ndim = bundle.card.ndims[0]
    rows: list[Measurement] = []
    for choices in candidates(bundle):
        for engine in dict.fromkeys(choice.engine for choice in choices):
            precisions = [choice.precision for choice in choices if choice.engine == engine]
            tile = (side,) * ndim
            rows += measure(bundle, engine, precisions, batch=1, tile=tile, environment=variables).rows
        taken = best(rows)
        if taken is not None:
            return taken
    return "; ".join(f"{m.engine} at {m.precision}: {m.refused}" for m in rows)


def write_entry(entry: Entry, folder: Path) -> dict[str, Any]:
    """Writes a bundle of the entry at full width with random weights; gives what its model says about itself."""
    import keras

    from benchmarks.models import card
    from segmodels.bundles.write import write_bundle
    from segmodels.receptive import receptive_radius
    from segmodels.registry import build, strides

    keras.utils.set_random_seed(7)
    channels, side, small = SHAPES[entry.ndim]
    options = {"backbone": entry.backbone} if entry.backbone else {}
    model = build(entry.name, channels=channels, classes=CLASSES, ndim=entry.ndim, **options)
    step, tile = strides(model), (side,) * entry.ndim
    golden = np.random.default_rng(0).normal(size=(1, *(small,) * entry.ndim, channels)).astype(np.float32)
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
    about = {"parameters": int(model.count_params()), "strides": step, "radius": radius}
    write_bundle(folder, card=made, model=model, golden_input=golden)
    return about


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
