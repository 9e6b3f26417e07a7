"""Kills runs at named and at random instants, resumes each, and checks that in the end nothing shows.

``python tests/chaos/chaos.py --kills 200``. One process imports everything; every run is a fork of it that
dies by SIGKILL, so that a life costs no imports.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Names of crash points, and how often each may be passed before it kills.
POINTS = (
    ("segmenting *", 16), ("opened *.blk", 16), ("written *.blk", 16), ("fsynced *.blk", 16), ("renamed *.blk", 16),
    ("opened plan.json", 1), ("written plan.json", 1), ("fsynced plan.json", 1), ("renamed plan.json", 1),
    ("written mask.*", 1), ("fsynced mask.*", 1), ("renamed mask.*", 1), ("* owner.json", 4),
    ("written run.json", 1), ("renamed run.json", 1), ("publishing", 1), ("replacing*", 12), ("published", 1),
    ("*", 120),
)  # fmt: skip
#: What a run imports, much of it only when it is needed.
IMPORTED = (
    "flows.pipeline", "flows.places", "flows.progress", "flows.request", "flows.runner", "segmodels.bundles.write",
    "segmodels.engines.on_numpy", "tasks.imagery.raster.geotiff_mask", "tasks.imagery.volume.nifti_mask", "tasks.reports.html",
    "tasks.reports.panels", "tasks.reports.pictures", "tasks.regions.kernel", "geopandas", "pyarrow.parquet",
)  # fmt: skip
KEPT = {"owner.lock", "owner.json"}


@dataclass
class Case:
    """An image with its bundle, and what an undisturbed run makes of them.

    Attributes:
        options: Of `flows.request.make_request`, without the output folder.
        expected: Contents that must not depend on how the run went.
        digest: Of its parameters.
        older: A published item of the same image with other parameters, to be replaced.
        seconds: What an undisturbed life takes.
    """

    options: dict[str, Any]
    expected: dict[str, bytes] = field(default_factory=dict)
    digest: str = ""
    older: Path = Path()
    seconds: float = 0.0


def run(case: Case, out: Path, **changes: Any) -> Any:
    """A run as `segflow run --direct` makes it, in this process."""
    from flows.pipeline import run_item
    from flows.places import opened_place
    from flows.progress import Quiet
    from flows.request import make_request

    request = make_request(**{**case.options, "out": out, **changes})
    with opened_place("threads", workers=request.workers) as place:
        from flows.runner import DirectRunner

        return run_item(request, runner=DirectRunner(place), progress=Quiet())


def warm() -> None:
    """Imports what a run needs, and starts nothing: threads, and locks they hold, would not survive a fork."""
    for name in IMPORTED:
        importlib.import_module(name)


def live(
    case: Case,
    out: Path,
    log: Path,
    *,
    point: str | None = None,
    after: float | None = None,
    **changes: Any,
) -> int:
    """One life of a run in a forked process; returns its exit status, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            if point:
                os.environ["SEGFLOW_CRASH_AT"] = point
            run(case, out, **changes)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def blocks(out: Path) -> dict[str, tuple[int, int]]:
    """Finished block files, each whole: name to inode and time."""
    from tasks.blocks.blockfile import BlockFile

    found = {}
    for path in sorted(out.glob(".segflow/*/*/blocks/*.blk")):
        BlockFile(path, verify=True)
        found[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def published(out: Path) -> dict[str, Any] | None:
    """The record of the item, if it is published; then all its files must be there."""
    records = list(out.glob("*/run.json"))
    if not records:
        return None
    (path,) = records
    record: dict[str, Any] = json.loads(path.read_bytes())
    for name, size in record["files"].items():
        assert (path.parent / name).stat().st_size == size, f"{name} is not whole"
    return record


def check_between(case: Case, out: Path, *, replacing: bool) -> None:
    """What must hold at any moment, however a run ended."""
    for path in (*out.glob(".segflow/*/*/plan.json"), *out.glob(".segflow/*/owner.json")):
        json.loads(path.read_bytes())
    for path in out.glob(".segflow/*/*/result/mask.*"):
        if path.name in case.expected:
            assert path.read_bytes() == case.expected[path.name], "half a mask has the mask's name"
    item = out / case.options["item"]
    if published(out) is not None:
        mask = next(n for n in case.expected if n.startswith("mask."))
        allowed = {case.expected[mask], *([(case.older / mask).read_bytes()] if replacing else [])}
        assert (item / mask).read_bytes() in allowed
    elif item.exists():
        assert replacing, "an item is there without its record"
        assert list(out.glob(".segflow/*/replaced.json")), "a replaced item has lost its record"


def check_end(case: Case, out: Path) -> None:
    """What must hold once a run has ended by itself."""
    item = out / case.options["item"]
    for name, content in case.expected.items():
        assert (item / name).read_bytes() == content, f"{name} differs"
    assert not list(out.rglob("*.part")), "unfinished files are left"
    left = {p.name for p in (out / ".segflow" / case.options["item"]).iterdir()}
    assert left <= KEPT, f"work files are left: {left - KEPT}"
    record = published(out)
    assert record is not None
    assert record["status"] == "done"


def chaos(cases: list[Case], folder: Path, *, kills: int, seed: int, say: Any = print) -> dict[str, int]:
    """Kills runs until ``kills`` have died; the last is then let end by itself.

    Returns:
        Kills at named points and at random times, runs that ended, and finished blocks found by later lives.

    Raises:
        AssertionError: Something shows; the folder is left as it was found.
    """
    rng = random.Random(seed)
    counts = {"at a named point": 0, "at a random time": 0, "runs": 0, "blocks kept": 0}
    number = 0
    while counts["at a named point"] + counts["at a random time"] < kills:
        case, replacing = cases[number % len(cases)], number // len(cases) % 2 == 1
        out = folder / f"run-{number}"
        number += 1
        out.mkdir(parents=True)
        if replacing:
            shutil.copytree(case.older, out / case.options["item"])
        before: dict[str, tuple[int, int]] = {}
        ended = False
        while not ended:
            died = counts["at a named point"] + counts["at a random time"]
            name, most = rng.choice(POINTS)
            named = rng.random() < 0.6
            point = f"{name}:{rng.randint(1, most)}" if named and died < kills else None
            after = rng.uniform(0, 1.2 * case.seconds) if not named and died < kills else None
            status = live(case, out, folder / "log", point=point, after=after)
            assert status in (0, -signal.SIGKILL), (folder / "log").read_text()
            check_between(case, out, replacing=replacing)
            ended = status == 0
            if not ended:
                counts["at a named point" if named else "at a random time"] += 1
            record = published(out)
            counts["blocks kept"] += len(before)
            if record is not None and record["parameters_digest"] == case.digest:
                assert record["blocks"]["reused"] == len(before), "a finished block was computed again"
            else:
                now = blocks(out)
                assert before.items() <= now.items(), "a finished block was computed again"
                before = now
        check_end(case, out)
        counts["runs"] += 1
        shutil.rmtree(out)
        died = counts["at a named point"] + counts["at a random time"]
        say(f"{died} kills, {counts['runs']} runs ended, all as if undisturbed")
    return counts


def make_cases(folder: Path) -> list[Case]:
    """A raster and a volume, each with a bundle of a few dozen tiles, run once undisturbed."""
    import nibabel
    import numpy as np
    import rasterio
    from rasterio.transform import Affine

    rng = np.random.default_rng(3)
    raster, volume = folder / "noise.tif", folder / "blobs.nii.gz"
    values = np.kron(rng.integers(1, 1200, (20, 18)), np.ones((8, 8))).astype("uint16")
    with rasterio.open(
        raster, "w", driver="GTiff", height=160, width=144, count=1, dtype="uint16",
        crs="EPSG:32632", transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as target:  # fmt: skip
        target.write(values, 1)
    cube = np.kron(rng.integers(1, 1200, (5, 6, 4)), np.ones((8, 8, 8))).astype("int16")
    nibabel.save(nibabel.Nifti1Image(cube, np.diag([1.0, 1.0, 2.0, 1.0])), volume)
    cases = []
    for image, tile, block in ((raster, (32, 32), 48), (volume, (16, 16, 16), 16)):
        bundle = make_bundle(folder / f"bundle-{len(tile)}d", tile)
        options = {"image": image, "model": str(bundle), "item": "item", "block": block}
        cases.append(undisturbed(Case(options), folder / f"undisturbed-{len(tile)}d"))
    return cases


def make_bundle(folder: Path, tile: tuple[int, ...]) -> Path:
    """Two classes by one threshold, with a Gaussian blend of half-overlapping tiles."""
    import numpy as np

    from segmodels.bundles.card import Card, ChannelCard, ClassCard
    from segmodels.bundles.write import write_bundle
    from segmodels.methods.method import Linear

    classes = (
        ClassCard(name="low", code=0, colour="#d9d3c3"),
        ClassCard(name="high", code=1, colour="#1f78b4"),
    )
    card = Card(
        name="chaos", ndims=(len(tile),), classes=classes, activation="sigmoid",
        channels=(ChannelCard(name="c0"),), tile=tile, overlap=0.5, blend="gaussian",
    )  # fmt: skip
    side = 2 * card.stride
    golden = np.linspace(-1, 1, side ** len(tile), dtype=np.float32).reshape(1, *(side,) * len(tile), 1)
    write_bundle(folder, card=card, method=Linear(weights=((0.01,),), bias=(-6.005,)), golden_input=golden)
    return folder


def undisturbed(case: Case, folder: Path) -> Case:
    """The case with its references filled in."""
    folder.mkdir()
    peace(case, folder, "reference")
    item = folder / "reference" / case.options["item"]
    names = ("mask.tif", "mask.nii.gz", "regions.csv", "regions.parquet", "summary.json")
    case.expected = {name: (item / name).read_bytes() for name in names if (item / name).exists()}
    case.digest = json.loads((item / "run.json").read_bytes())["parameters_digest"]
    peace(case, folder, "older", overlap=0.25)
    case.older = folder / "older" / case.options["item"]
    case.seconds = peace(case, folder, "timed")
    return case


def peace(case: Case, folder: Path, name: str, **changes: Any) -> float:
    """A life that nobody disturbs; returns its seconds."""
    begin = time.perf_counter()
    status = live(case, folder / name, folder / "log", **changes)
    assert status == 0, (folder / "log").read_text()
    return time.perf_counter() - begin


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    begin = time.perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="segflow-chaos-"))
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    warm()
    counts = chaos(make_cases(folder), folder / "runs", kills=asked.kills, seed=asked.seed)
    counts["seconds"] = round(time.perf_counter() - begin)
    print(json.dumps(counts))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
