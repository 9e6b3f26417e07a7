"""The program of MONAI's process: ``python -m benchmarks.peers.monai_worker FOLDER TILE OVERLAP OFFSET DIVISOR``.

It loads everything, checks the conversion, and then answers each line on standard input (the name of a
way to run) with one JSON object, so that segflow's runs can take turns with it. What is timed is what
MONAI's users wait for: ``sliding_window_inference`` and the argmax, the normalised image in memory.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from monai.inferers import sliding_window_inference

from benchmarks.peers.unet_torch import UNet, from_keras

#: How far a logit may be from Keras' on the golden tile, relative to the largest (at least 1).
TOLERANCE = 1e-4
BATCHES = (1, 4)
WAYS = ("fp32 eager", "bf16 channels-last", "bf16 channels-last compiled")


class Contestant:
    """One way to run the network."""

    def __init__(self, model: UNet, way: str, *, tile: int, overlap: float) -> None:
        self._tile, self._overlap, self._bf16 = tile, overlap, way.startswith("bf16")
        network: Callable[[torch.Tensor], torch.Tensor] = model
        if "channels-last" in way:
            network = model.to(memory_format=torch.channels_last)
        if "compiled" in way:
            import torch._inductor.config as inductor

            inductor.freezing = True
            network = torch.compile(model)
        self._network = network
        self._last = "channels-last" in way
        self.batch = BATCHES[0]

    def predict(self, windows: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of windows, float32."""
        if self._last:
            windows = windows.contiguous(memory_format=torch.channels_last)
        return self._network(windows).float()

    def run(self, image: torch.Tensor) -> float:
        """Seconds for the whole image."""
        cast: AbstractContextManager[Any] = (
            torch.autocast("cpu", dtype=torch.bfloat16) if self._bf16 else nullcontext()
        )
        begin = time.perf_counter()
        with torch.inference_mode(), cast:
            logits = sliding_window_inference(
                image, self._tile, self.batch, self.predict, overlap=self._overlap, mode="gaussian"
            )
            logits.argmax(dim=1).to(torch.uint8)
        return time.perf_counter() - begin

    def choose_batch(self, image: torch.Tensor) -> dict[int, float]:
        """Warms up and keeps the batch size that is faster on a part of the image of nine tiles."""
        side = self._tile + 2 * round(self._tile * (1 - self._overlap))
        part = image[..., :side, :side]
        took = {}
        for batch in BATCHES:
            self.batch = batch
            self.run(part)
            took[batch] = self.run(part)
        self.batch = min(took, key=lambda b: took[b])
        return took


def main() -> None:
    """Loads, checks, then answers."""
    folder, tile, overlap = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    offset, divisor = float(sys.argv[4]), float(sys.argv[5])
    weights = dict(np.load(folder / "weights.npz"))
    worst = disagreement(from_keras(weights), folder)
    if worst > TOLERANCE:
        raise SystemExit(
            f"the converted network differs from Keras by {worst:.1e}, at most {TOLERANCE:.0e} may"
        )
    image = torch.from_numpy(np.load(folder / "image.npy"))[None].float().sub_(offset).div_(divisor)
    versions = f"MONAI {monai.__version__}, torch {torch.__version__}"
    say({"versions": versions, "threads": torch.get_num_threads(), "worst": worst})
    contestants: dict[str, Contestant] = {}
    for line in sys.stdin:
        way = line.strip()
        try:
            if way not in contestants:
                contestants[way] = Contestant(from_keras(weights), way, tile=tile, overlap=overlap)
                say({"warm": contestants[way].choose_batch(image), "batch": contestants[way].batch})
            else:
                say({"seconds": contestants[way].run(image)})
        except Exception as error:  # the other ways can still be measured
            say({"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"})


def disagreement(model: UNet, folder: Path) -> float:
    """Largest difference from Keras' logits on the golden tile."""
    golden = np.load(folder / "golden.npz")
    with torch.inference_mode():
        found = model(torch.from_numpy(golden["input"].transpose(0, 3, 1, 2).copy()))
    wanted = golden["logits"]
    difference = np.abs(found.numpy().transpose(0, 2, 3, 1) - wanted).max()
    return float(difference / max(1.0, np.abs(wanted).max()))


def say(answer: dict[str, Any]) -> None:
    """One line for the driver."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
