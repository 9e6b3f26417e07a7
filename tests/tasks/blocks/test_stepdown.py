"""Out of memory: smaller batches, then the CPU; finished tiles stay, bits stay, and it is said once."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

from segmodels.errors import EngineError
from tasks.blocks.segment import segment_block
from tasks.blocks.stepdown import Step, SteppingEngine, is_out_of_memory, leave_notes, read_notes
from tasks.planning.make import make_plan
from tasks.planning.plan import Parameters
from tasks.stitching.stitch import Stitch


class ResourceExhaustedError(Exception):
    """As TensorFlow names it."""


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class XlaRuntimeError(RuntimeError):
    """As JAX names it."""


class RuntimeException(Exception):  # noqa: N818 - its own name
    """As ONNX Runtime names it."""


OUT_OF_MEMORY = [
    ResourceExhaustedError("OOM when allocating tensor with shape[8,512,512,32]"),
    OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes."),
    MemoryError(),
    RuntimeError("std::bad_alloc"),
    RuntimeException(
        "[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 17179869184"
    ),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: type(e).__name__)
def test_what_means_out_of_memory(error):
    assert is_out_of_memory(error)
    wrapped = EngineError("the model cannot be opened")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped)


@pytest.mark.parametrize(
    "error", [ValueError("bad shape"), XlaRuntimeError("INVALID_ARGUMENT"), EngineError("not installed")]
)
def test_what_does_not(error):
    assert not is_out_of_memory(error)


class Small:
    """An engine with room for ``room`` tiles a batch."""

    name, precision, library, callers = "tensorflow", "float32", "fake 1", 1

    def __init__(self, room, error, calls, function=lambda x: x * 2):
        self.room, self.error, self.calls, self.function = room, error, calls, function

    def logits(self, batch):
        self.calls.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return self.function(batch)


def steps(engine, batch, *, cpu=None):
    out = [Step(f"in batches of {batch}", batch, lambda: engine), Step("tile by tile", 1, lambda: engine)]
    return out + ([Step("tile by tile on the CPU", 1, lambda: cpu)] if cpu else [])


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: type(e).__name__)
def test_a_batch_that_is_too_large_is_run_tile_by_tile_from_then_on(error, caplog):
    calls = []
    engine = SteppingEngine(steps(Small(1, error, calls), 4))
    batch = np.random.default_rng(0).random((4, 8, 8, 1)).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            np.testing.assert_array_equal(engine.logits(batch), batch * 2)
    assert calls == [4] + 3 * [1, 1, 1, 1]
    assert len(caplog.records) == len(engine.taken) == 1
    assert "tile by tile" in engine.taken[0]
    assert (engine.name, engine.precision, engine.library) == ("tensorflow", "float32", "fake 1")


def test_the_cpu_only_where_it_is_allowed():
    error, calls, on_cpu = OUT_OF_MEMORY[0], [], []
    batch = np.ones((2, 4, 4, 1), np.float32)
    with pytest.raises(ResourceExhaustedError):
        SteppingEngine(steps(Small(0, error, calls), 2)).logits(batch)
    allowed = SteppingEngine(steps(Small(0, error, calls), 2, cpu=Small(1, error, on_cpu)))
    np.testing.assert_array_equal(allowed.logits(batch), batch * 2)
    assert on_cpu == [1, 1]
    assert len(allowed.taken) == 2
    assert "on the CPU" in allowed.taken[1]


def test_an_engine_that_cannot_even_be_opened_steps_down():
    def full():
        raise EngineError("cannot be compiled") from MemoryError()

    one = Small(1, MemoryError(), [])
    engine = SteppingEngine([Step("in batches of 4", 4, full), Step("tile by tile", 1, lambda: one)])
    assert engine.logits(np.ones((4, 2, 2, 1), np.float32)).shape == (4, 2, 2, 1)
    assert len(engine.taken) == 1


def test_other_errors_are_no_reason():
    engine = SteppingEngine(steps(Small(0, ValueError("bad"), []), 2))
    with pytest.raises(ValueError, match="bad"):
        engine.logits(np.ones((2, 4, 4, 1), np.float32))
    assert engine.taken == ()


def test_threads_that_fail_together_take_one_step():
    barrier = threading.Barrier(4)

    class Together(Small):
        def logits(self, batch):
            if len(batch) > 1:
                barrier.wait(10)
            return super().logits(batch)

    engine = SteppingEngine(steps(Together(1, MemoryError(), []), 2, cpu=Small(1, MemoryError(), [])))
    batch = np.ones((2, 4, 4, 1), np.float32)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(engine.logits(batch))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(answers) == 4
    assert len(engine.taken) == 1


def test_no_tile_is_lost_and_the_mask_is_the_same(array_image, make_card, tmp_path):
    values = np.random.default_rng(1).random((70, 60, 1)).astype(np.float32)
    image, card = array_image(values), make_card(3, ndims=(2,), tile=(8, 8), overlap=0.25)
    plan = make_plan(
        image, item="x", image_digest="", bundle=tmp_path, bundle_digest="", card=card,
        parameters=Parameters(), block=24,
    )  # fmt: skip
    assert plan.batch > 1

    def three(x):
        return np.concatenate([np.sin(9 * x), np.cos(7 * x), 1 - x], -1)

    masks = []
    for room in (99, 1):
        folder = tmp_path / str(room)
        folder.mkdir()
        engine = SteppingEngine(steps(Small(room, MemoryError(), [], three), plan.batch))
        for number in range(plan.grid.block_count):
            outcome = segment_block(plan, number, image=image, engine=engine, directory=folder)
            assert not outcome.failures
        masks.append(np.concatenate([b.codes for b in Stitch(plan, folder, rows=9).bands()]))
        for _ in range(2):
            leave_notes(folder, engine)
        assert read_notes(folder) == engine.taken
        assert len(engine.taken) == (room == 1)
    np.testing.assert_array_equal(*masks)


def test_a_thread_that_comes_while_a_step_is_taken_waits_for_it():
    opening, opened = threading.Event(), threading.Event()

    class Fixed:
        name, precision, library, callers = "tensorflow", "float32", "fake 1", 1

        def __init__(self, batch):
            self.batch = batch

        def logits(self, x):
            assert len(x) == self.batch, "a batch of another step's shape"
            if self.batch > 1:
                raise MemoryError
            return x * 2

    def slowly():
        opening.set()
        assert opened.wait(10)
        return Fixed(1)

    engine = SteppingEngine([Step("in batches of 4", 4, lambda: Fixed(4)), Step("tile by tile", 1, slowly)])
    x = np.arange(4 * 2, dtype=np.float32).reshape(4, 2, 1)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(engine.logits(x))) for _ in range(2)]
    threads[0].start()
    assert opening.wait(10)
    threads[1].start()
    opened.set()
    for thread in threads:
        thread.join(10)
    assert len(answers) == 2
    for answer in answers:
        np.testing.assert_array_equal(answer, x * 2)


@pytest.mark.parametrize("engine", ["tensorflow", "jax", "torch", "onnx", "openvino"])
def test_every_engine_that_takes_a_gpu_may_fall_back_to_the_cpu(engine, monkeypatch):
    from segmodels.bundles.bundle import load_bundle
    from tasks.blocks import session

    monkeypatch.setattr(session, "SteppingEngine", list)
    bundle = load_bundle("water-ndwi")

    def said(cpu_fallback):
        steps = session._engine.__wrapped__(
            bundle.path, bundle.digest, engine, "float32", 4, (16, 16), "none", cpu_fallback, 1
        )
        return [s.says for s in steps]

    usual = ["in batches of 4", "tile by tile"]
    assert said(False) == usual
    assert said(True) == usual + ["tile by tile on the CPU"] * (engine != "openvino")
