"""A training killed at any point goes on to the weights that it would have had; its parts do what they say."""

from __future__ import annotations

import csv
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segmodels.training.averaging import Average
from segmodels.training.checkpoint import Checkpoint, CheckpointError
from segmodels.training.named_steps import make_steps
from segmodels.training.prefetch import prefetched
from segmodels.training.schedule import Pace


class Squares:
    """Noise with a brighter square; tile ``n`` depends on ``n`` alone."""

    def __init__(self) -> None:
        self.number = 0

    def skip(self, n: int) -> None:
        self.number += n

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(self.number)
        self.number += 1
        labels = np.zeros((16, 16), np.int16)
        a, b = rng.integers(0, 8, 2)
        labels[a : a + 8, b : b + 8] = 1
        return (labels[..., None] + rng.normal(0, 0.3, (16, 16, 1))).astype(np.float32), labels


def training(
    folder: Path,
    *,
    kill_at: int = 0,
    stop_at: int = 0,
    steps: int = 12,
    patience: int | None = None,
    flat: bool = False,
):  # type: ignore[no-untyped-def]
    """The weights that a small training ends with, and what it says of itself."""
    from segmodels.losses import DiceCrossEntropy
    from segmodels.registry import build
    from segmodels.training.loop import seed_everything
    from segmodels.training.trainer import Settings, fit

    seed_everything(3)
    network = build("unet", channels=1, classes=2, filters=(4, 6), dropout=0.2)

    def validate(model) -> dict[str, float]:  # type: ignore[no-untyped-def]
        return {"score": 0.5 if flat else float(np.square(model.get_weights()[0]).sum())}

    def progress(done: float, step: int, loss: float) -> None:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == stop_at:
            raise InterruptedError

    trained = fit(
        network,
        Squares(),
        loss=DiceCrossEntropy(),
        settings=Settings(
            pace=Pace(steps=steps, learning_rate=1e-2, warmup=3),
            batch=2,
            average=0.9,
            every=3,
            patience=patience,
        ),
        folder=folder,
        key="a",
        augment=make_steps([{"kind": "flip"}, {"kind": "noise", "sigma": 0.1}]),
        validate=validate,
        progress=progress,
    )
    return network.get_weights(), trained


@pytest.mark.slow
def test_a_killed_training_ends_with_the_weights_of_one_that_ran_through(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    expected, trained = training(whole)
    assert trained.resumed_at is None
    assert trained.steps == 12
    program = (
        "from pathlib import Path\n"
        "from tests.segmodels.test_trainer import training\n"
        f"training(Path({str(killed)!r}), kill_at=8)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ran = subprocess.run([sys.executable, "-c", program], cwd=root, env=environment, capture_output=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()
    weights, trained = training(killed)
    assert trained.resumed_at == 6
    for a, b in zip(expected, weights, strict=True):
        np.testing.assert_array_equal(a, b)
    with (killed / "curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == [3, 6, 9, 12]
    assert (killed / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert any((killed / "logs").iterdir())
    # once more: nothing is left to do
    again, trained = training(killed)
    assert trained.resumed_at == 12
    np.testing.assert_array_equal(again[0], expected[0])


def test_training_stops_where_the_score_no_longer_rises(tmp_path: Path) -> None:
    _, trained = training(tmp_path, steps=60, patience=2, flat=True)
    assert trained.stopped_early
    assert trained.steps == 9  # the first validation is the best, two more bring nothing
    assert trained.scores == {"score": 0.5}


def test_tensorboard_reads_the_curves(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from segmodels.training.curves import Curves

    curves = Curves(tmp_path)
    curves.add({"step": 5, "loss": 1.5, "learning_rate": 0.1, "score": 0.25})
    curves.add({"step": 9, "loss": 0.5, "learning_rate": 0.05, "score": 0.75})
    curves.close()
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("score")] == [(5, 0.25), (9, 0.75)]


@pytest.mark.parametrize("threads", [1, 4])
def test_batches_come_in_order_whatever_the_threads_and_wherever_they_begin(threads: int) -> None:
    augment = make_steps([{"kind": "flip"}, {"kind": "tint"}])

    def some(done: int, count: int, threads: int) -> list[np.ndarray]:
        with prefetched(Squares(), batch=3, augment=augment, seed=1, done=done, threads=threads) as batches:
            return [next(batches)[0] for _ in range(count)]

    expected = some(0, 6, 2)
    np.testing.assert_array_equal(some(0, 6, threads), expected)
    np.testing.assert_array_equal(some(4, 2, threads), expected[4:])


def test_what_goes_wrong_in_a_thread_is_raised() -> None:
    class Broken(Squares):
        def draw(self) -> tuple[np.ndarray, np.ndarray]:
            raise OSError("the disk is gone")

    with prefetched(Broken(), batch=1) as batches, pytest.raises(OSError, match="the disk is gone"):
        next(batches)


def test_checkpoints_come_back_or_say_why_not(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    assert Checkpoint.load(path, key="a") is None
    arrays = {"network": [np.arange(3.0), np.int64(7)], "optimizer": []}
    saved = Checkpoint(key="a", step=4, seconds=1.5, groups=arrays, notes={"top": 0.5})
    saved.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.npz"]
    loaded = Checkpoint.load(path, key="a")
    assert loaded is not None
    assert (loaded.step, loaded.seconds, loaded.notes, loaded.groups["optimizer"]) == (
        4,
        1.5,
        {"top": 0.5},
        [],
    )
    np.testing.assert_array_equal(loaded.groups["network"][0], np.arange(3.0))
    with pytest.raises(CheckpointError, match="other settings"):
        Checkpoint.load(path, key="b")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint.load(path, key="a")


def test_averaged_weights_by_hand() -> None:
    average = Average(0.5, [np.array([0.0], np.float32), np.array([1])])
    average.update([np.array([8.0]), np.array([2])], step=1000)
    assert average.weights[0] == 4.0
    assert average.weights[1] == 2  # what is no real number is taken over
    average.update([np.array([8.0]), np.array([2])], step=1000, steps=2)
    assert average.weights[0] == 7.0
    early = Average(0.999, [np.array([0.0])])
    early.update([np.array([11.0])], step=1)
    assert early.weights[0] == pytest.approx(9.0)  # (1 + 1) / (10 + 1) of the beginning is kept


def test_the_learning_rate_rises_then_falls_along_a_cosine() -> None:
    pace = Pace(steps=100, learning_rate=2.0, warmup=10)
    assert pace.rate(0, 0) == pytest.approx(0.2)
    assert pace.rate(50, 0) == pytest.approx(1.0)
    assert pace.rate(75, 0) == pytest.approx(1 + math.cos(0.75 * math.pi))
    assert pace.rate(100, 0) == pytest.approx(0.0)
    assert Pace(minutes=2, learning_rate=2.0, warmup=0, floor=0.5).rate(7, 120) == pytest.approx(1.0)
    assert Pace(minutes=2).done(7, 60) == 0.5
    with pytest.raises(ValueError, match="give one"):
        Pace(steps=1, minutes=1)


@pytest.mark.slow
def test_a_network_with_several_outputs_is_trained_on_all(tmp_path: Path) -> None:
    from segmodels.losses import SparseCrossEntropy
    from segmodels.registry import build
    from segmodels.training.precision import dtype_policy
    from segmodels.training.trainer import Settings, fit

    with dtype_policy("mixed_bfloat16"):
        network = build("residual_unet", channels=1, classes=2, filters=(4, 4, 4, 4), deep_supervision=True)
    assert len(network.outputs) > 1
    before = [np.array(w) for w in network.get_weights()]
    settings = Settings(pace=Pace(steps=2, warmup=0, learning_rate=1e-2), batch=2)
    fit(network, Squares(), loss=SparseCrossEntropy(), settings=settings, folder=tmp_path)
    names = [v.path for v in network.trainable_variables]
    changed = {
        w.path for w, b in zip(network.weights, before, strict=True) if not np.array_equal(w.numpy(), b)
    }
    assert [n for n in names if "logits" in n]
    assert all(n in changed for n in names if "logits" in n and "kernel" in n)


@pytest.mark.slow
def test_the_loop_runs_and_resumes_on_jax(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    root = Path(__file__).parents[2]
    program = (
        "from pathlib import Path\n"
        "import keras; assert keras.backend.backend() == 'jax'\n"
        "from tests.segmodels.test_trainer import training\n"
        f"whole, cut = Path({str(tmp_path / 'whole')!r}), Path({str(tmp_path / 'cut')!r})\n"
        "whole.mkdir(); cut.mkdir()\n"
        "import numpy as np\n"
        "a, _ = training(whole, steps=6)\n"
        "try:\n"
        "    training(cut, stop_at=4, steps=6)\n"
        "except InterruptedError:\n"
        "    pass\n"
        "b, trained = training(cut, steps=6)\n"
        "assert trained.resumed_at == 3\n"
        "print(max(float(np.abs(x - y).max()) for x, y in zip(a, b)))\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) <= 1e-6
