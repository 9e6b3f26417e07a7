"""A block on a worker: its attempts, and what the worker must be."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from flows.runner import bounded
from flows.runner_names import scheduler_address
from tasks.blocks.attempts import Attempts, forget_attempts
from tasks.blocks.spread import check_worker, this_code
from tasks.crash import AT, ONCE, crash_point
from tasks.errors import InputError, SegflowError, UsageError
from tasks.work import WorkFolder


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    folder = WorkFolder(tmp_path, "item", "key")
    folder.run.mkdir(parents=True)
    return folder


def die_in_a_block(work: WorkFolder) -> None:
    with Attempts(work, 3).attempted():
        os.kill(os.getpid(), signal.SIGKILL)


def test_only_a_death_leaves_an_attempt(work: WorkFolder) -> None:
    attempts = Attempts(work, 3)
    with attempts.attempted():
        pass
    with pytest.raises(ZeroDivisionError), attempts.attempted():
        raise ZeroDivisionError
    assert attempts.deaths() == ()
    pids = []
    for _ in range(2):
        process = multiprocessing.get_context("spawn").Process(target=die_in_a_block, args=(work,))
        process.start()
        process.join()
        pids.append(process.pid)
    assert [d.split()[1] for d in attempts.deaths()] == [str(p) for p in pids]
    assert Attempts(work, 4).deaths() == ()
    forget_attempts(work)
    assert attempts.deaths() == ()


def test_a_worker_must_be_the_same_and_see_the_files(tmp_path: Path) -> None:
    check_worker(this_code(), tmp_path)
    with pytest.raises(InputError, match=r"does not see .*missing"):
        check_worker(this_code(), tmp_path / "missing")
    with pytest.raises(SegflowError, match=r"runs segflow .*install the same version"):
        check_worker(replace(this_code(), result_version=-1), tmp_path)


@pytest.mark.parametrize("runner", ["dusk", "dask:", "dask://", "dask://host", "http://host:1", ""])
def test_an_unknown_runner_is_refused(runner: str) -> None:
    with pytest.raises(UsageError, match="--runner"):
        scheduler_address(runner)


def test_a_runner_may_have_an_address() -> None:
    assert scheduler_address("dask://host:8786") == "tcp://host:8786"
    assert scheduler_address("tls://[::1]:1") == "tls://[::1]:1"
    assert scheduler_address("threads") is scheduler_address("dask") is None


def test_no_more_blocks_are_in_flight_than_the_place_takes_now() -> None:
    class Now:
        def __init__(self, number: int) -> None:
            self.number = number

        def result(self) -> int:
            return self.number

    seen, limits = [], iter([1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3])

    def wait_any(flying: list[Now]) -> Now:
        seen.append(len(flying))
        return flying[0]

    assert list(bounded(Now, tuple(range(6)), limit=lambda: next(limits), wait_any=wait_any)) == list(
        range(6)
    )
    assert max(seen) == 3
    assert seen[0] == 1


def test_a_crash_point_counts_and_may_crash_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    killed = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(number))
    monkeypatch.delenv(AT, raising=False)
    crash_point("written a.blk")
    assert killed == []
    monkeypatch.setenv(AT, "written *.blk:3")
    monkeypatch.setenv(ONCE, str(tmp_path / "once"))
    for _ in range(2):
        crash_point("written a.blk")
        crash_point("renamed a.blk")
    assert killed == []
    crash_point("written b.blk")
    assert killed == [signal.SIGKILL]
    crash_point("written b.blk")
    assert killed == [signal.SIGKILL]
