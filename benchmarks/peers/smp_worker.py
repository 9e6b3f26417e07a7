"""The program of segmentation_models.pytorch's process: ``python -m benchmarks.peers.smp_worker FOLDER``.

It answers each line on standard input with one JSON object: ``choose SEED`` measures the ways to run and
keeps the fastest; ``train SEED`` trains on that seed's tiles and writes masks of the validation images.
bfloat16 autocast and channels-last always; torch.compile where it is faster.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.peers.recipe import CLASSES, CLIP, ENCODER, EPSILON, UNTIMED, WEIGHT_DECAY
from benchmarks.peers.smp import import_smp

smp = import_smp()

#: Steps that a way is measured on, after the untimed ones.
TRIED = 20
#: How far our loss may be from the peer's on the same logits.
TOLERANCE = 1e-5
WAYS = ("eager", "torch.compile")


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus soft Dice averaged over the classes that the batch holds."""
    logits = logits.float()
    one_hot = functional.one_hot(labels, CLASSES).movedim(-1, 1).to(logits.dtype)
    p = logits.softmax(1)
    truth = one_hot.sum((0, 2, 3))
    dice = 1 - 2 * (p * one_hot).sum((0, 2, 3)) / (p.sum((0, 2, 3)) + truth).clamp_min(1e-6)
    held = (truth > 0).to(dice.dtype)
    return functional.cross_entropy(logits, labels) + (dice * held).sum() / held.sum().clamp_min(1)


class Contestant:
    """One network, run in one way, for all trainings; compiled once."""

    def __init__(self, folder: Path, way: str) -> None:
        self._folder, self.way = folder, way
        self.model = _fresh()
        self._forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = self._loss
        if way == "torch.compile":
            self._forward = torch.compile(self._loss)

    def _loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.model(images)
        return loss_of(logits, labels)

    def train(self, seed: int, *, most: int | None = None) -> list[float]:
        """Trains from new weights.

        Returns:
            The time at the end of each step.
        """
        torch.manual_seed(seed)
        self.model.load_state_dict(_fresh().state_dict())
        self.model.train()
        rates = np.load(self._folder / "rates.npy")
        images = np.load(self._folder / f"images-{seed}.npy", mmap_mode="r")
        labels = np.load(self._folder / f"labels-{seed}.npy", mmap_mode="r")
        optimizer = torch.optim.AdamW(
            self.model.parameters(), eps=EPSILON, weight_decay=WEIGHT_DECAY, fused=True
        )
        times = []
        for step, rate in enumerate(rates[:most]):
            for group in optimizer.param_groups:
                group["lr"] = float(rate)
            # tiles lie channels last in the file: this view is torch's channels-last layout
            x = torch.from_numpy(np.array(images[step])).permute(0, 3, 1, 2)
            y = torch.from_numpy(labels[step].astype(np.int64))
            optimizer.zero_grad(set_to_none=True)
            loss = self._forward(x, y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            optimizer.step()
            if not np.isfinite(loss.item()):
                raise FloatingPointError(f"the loss is {loss.item()} at step {step + 1}")
            times.append(time.perf_counter())
        return times

    def predict(self, file: Path) -> None:
        """Masks of the validation images."""
        self.model.eval()
        masks = {}
        with (
            np.load(self._folder / "validation.npz") as images,
            torch.inference_mode(),
            torch.autocast("cpu", dtype=torch.bfloat16),
        ):
            for name in images.files:
                x = torch.from_numpy(images[name][None]).permute(0, 3, 1, 2)
                masks[name] = self.model(x)[0].float().argmax(0).to(torch.uint8).numpy()
        np.savez(file, **masks)

    def measured(self, seed: int) -> float:
        """Seconds of a step."""
        times = self.train(seed, most=UNTIMED + TRIED)
        return (times[-1] - times[UNTIMED - 1]) / (len(times) - UNTIMED)


def _fresh() -> torch.nn.Module:
    model = smp.Unet(ENCODER, encoder_weights=None, in_channels=3, classes=CLASSES)
    made: torch.nn.Module = model.to(memory_format=torch.channels_last)
    return made


def difference(folder: Path) -> float:
    """How far this loss is from ours on the same logits."""
    check = np.load(folder / "check.npz")
    logits = torch.from_numpy(check["logits"]).permute(0, 3, 1, 2)
    return abs(
        float(loss_of(logits, torch.from_numpy(check["labels"].astype(np.int64)))) - float(check["loss"])
    )


def main() -> None:
    """Checks the loss, then answers."""
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    worst = difference(folder)
    if worst > TOLERANCE:
        raise SystemExit(f"the losses differ by {worst:.1e}, at most {TOLERANCE:.0e} may")
    parameters = sum(p.numel() for p in _fresh().parameters())
    versions = f"segmentation_models.pytorch {smp.__version__}, torch {torch.__version__}"
    say({"versions": versions, "threads": torch.get_num_threads(), "parameters": parameters})
    chosen: Contestant | None = None
    for line in sys.stdin:
        word, seed = line.split()
        try:
            if word == "choose":
                chosen, took = choose(folder, int(seed))
                say({"way": chosen.way, "seconds a step": took})
            elif chosen is not None:
                begin = time.perf_counter()
                times = chosen.train(int(seed))
                chosen.predict(folder / f"theirs-{seed}.npz")
                before = times[UNTIMED - 1] - begin
                say({"seconds": times[-1] - times[UNTIMED - 1], "before": before})
        except Exception as error:  # the driver shows it in the table
            say({"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"})


def choose(folder: Path, seed: int) -> tuple[Contestant, dict[str, Any]]:
    """The fastest way on the first tiles of a seed, and what each took."""
    contestants, took = {}, {}
    for way in WAYS:
        try:
            contestants[way] = Contestant(folder, way)
            took[way] = contestants[way].measured(seed)
        except Exception as error:  # a machine without a C++ compiler can still train eagerly
            print(f"{way}: {error}", file=sys.stderr)
            contestants.pop(way, None)
    best = min(took, key=lambda way: took[way])
    return contestants[best], took


def say(answer: dict[str, Any]) -> None:
    """One line for the driver."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
