"""Our trainer against segmentation_models.pytorch on the nuclei: the same tiles, steps and batch, in turns."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.command import program
from benchmarks.harness import Figure, Goal, Row, Settings, UnavailableError, ratios, seconds
from benchmarks.peers.environment import peers_python
from benchmarks.peers.process import started
from benchmarks.peers.recipe import (
    ARCHITECTURE,
    BATCH,
    ENCODER,
    OPTIONS,
    PATCH,
    STEPS,
    UNTIMED,
)


def pooled_iou(truth: Path, masks: Path) -> float:
    """Foreground IoU over all images of two files; masks may be padded at their ends."""
    from segmodels.metrics import ConfusionMatrix
    from tasks.datasets.dataset import IGNORE
    from tasks.training.evaluate import foreground_iou

    matrix = ConfusionMatrix(3, ignore=(IGNORE,))
    with np.load(truth) as wanted, np.load(masks) as found:
        for name in wanted.files:
            inside = tuple(slice(0, n) for n in wanted[name].shape)
            matrix.update(wanted[name], found[name][inside])
    return foreground_iou(matrix)


def measure(settings: Settings) -> Sequence[Figure]:
    """Score and time, seed by seed."""
    if settings.nuclei is None or not (settings.nuclei / "index.json").is_file():
        raise UnavailableError(
            f"{settings.nuclei or 'nothing'} holds no nuclei; name the folder of BBBC038 that has image/, "
            "instance/ and index.json with NUCLEI=FOLDER (docs/training.md)"
        )
    python = peers_python()
    steps = max(UNTIMED + 10, round(STEPS * settings.scale))
    folder = settings.work / "peers-training"
    shutil.rmtree(folder, ignore_errors=True)
    seeds = range(settings.repeats)
    for seed in seeds:
        settings.note(f"drawing {steps} × {BATCH} tiles, seed {seed}")
        held = program(settings, "benchmarks.peers.tiles", settings.nuclei, folder, seed, steps)

    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    with started(
        settings, python, "benchmarks.peers.smp_worker", folder, log=folder.with_suffix(".log")
    ) as peer:
        settings.note("choosing the peer's fastest way")
        way = peer.ask(f"choose {seeds[0]}")

        def our_turn(seed: int) -> None:
            settings.note(f"seed {seed}: segflow")
            ours.append(program(settings, "benchmarks.peers.train_ours", folder, seed))

        def their_turn(seed: int) -> None:
            settings.note(f"seed {seed}: segmentation_models.pytorch")
            theirs.append(peer.ask(f"train {seed}"))

        for seed in seeds:
            turns: list[Callable[[int], None]] = [our_turn, their_turn]
            for turn in turns if seed % 2 == 0 else reversed(turns):
                turn(seed)
        about = peer.about
    scores = {
        side: [pooled_iou(folder / "truth.npz", folder / f"{side}-{seed}.npz") for seed in seeds]
        for side in ("ours", "theirs")
    }
    shutil.rmtree(folder)
    took = {"ours": [r["seconds"] for r in ours], "theirs": [r["seconds"] for r in theirs]}
    details = {
        "data": f"nuclei, {held['train']} images to train on, {held['validation']} to score, {steps} steps of {BATCH} × {PATCH}²",
        "ours": f"{ARCHITECTURE} {'-'.join(map(str, OPTIONS['filters']))}, {ours[0]['parameters'] / 1e6:.2f} M weights, "
        f"mixed_bfloat16, {ours[0]['versions']}",
        "peer": f"Unet({ENCODER}), {about['parameters'] / 1e6:.2f} M weights, bf16 autocast, channels-last, "
        f"{way['way']}, {about['versions']}, {about['threads']} threads",
        "its ways, s a step": ", ".join(f"{k} {v:.3f}" for k, v in way["seconds a step"].items()),
        "our scores": [round(s, 4) for s in scores["ours"]],
        "its scores": [round(s, 4) for s in scores["theirs"]],
        f"our s for {steps - UNTIMED} steps": seconds(took["ours"]),
        f"its s for {steps - UNTIMED} steps": seconds(took["theirs"]),
        f"s of the first {UNTIMED}, ours and its": seconds([ours[-1]["before"], theirs[-1]["before"]]),
    }
    return [
        Figure(
            "mean foreground IoU over segmentation_models.pytorch's",
            (mean(scores["ours"]) / mean(scores["theirs"]),),
            goal=Goal("≥", 1.0),
            details=details,
        ),
        Figure(
            "time of the steps over segmentation_models.pytorch's",
            ratios(took["ours"], took["theirs"]),
            goal=Goal("≤", 1.0),
        ),
    ]


ROW = Row("training", "training on nuclei against segmentation_models.pytorch's U-Net of equal size", measure)
