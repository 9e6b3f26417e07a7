"""A flow on the embedded server, in a process with an empty home: quiet, offline, complete, killable."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import socket, sys, time
import flows.environment; flows.environment.prepare_environment()

real = socket.socket.connect
def connect(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        print("CONNECTS", address, flush=True)
    return real(self, address)
socket.socket.connect = connect

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner
from flows.embedded import quiet_server

@task
def double(value):
    time.sleep(float(sys.argv[2]))
    return 2 * value

@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def doubles(count):
    return sum(future.result() for future in [double.submit(i) for i in range(count)])

with quiet_server():
    print("READY", flush=True)
    print("SUM", doubles(int(sys.argv[1])), flush=True)
"""


def start(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "DO_NOT_TRACK")) and name != "HOME"
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=home,
        env={**environment, "HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


def hear_interrupts() -> None:
    """What a shell runs in the background ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def recorded(home: Path) -> list[tuple[str, int]]:
    database = sqlite3.connect(f"file:{home}/.prefect/prefect.db?mode=ro", uri=True)
    try:
        return database.execute("select state_type, count(*) from task_run group by 1").fetchall()
    finally:
        database.close()


def servers(home: Path) -> list[int]:
    """Process ids of embedded servers that have this home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"embedded.py" in (process / "cmdline").read_bytes():
                environment = (process / "environ").read_bytes().split(b"\0")
                found += [int(process.name)] * (f"HOME={home}".encode() in environment)
        except OSError:
            continue  # gone in the meantime
    return found


def wait_until(condition, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return False


@pytest.mark.slow
def test_first_run_is_quiet_offline_and_recorded(tmp_path: Path) -> None:
    process = start(tmp_path, "60", "0")
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert out.split("\n")[:2] == ["READY", f"SUM {60 * 59}"]
    assert "CONNECTS" not in out
    assert error == ""
    assert recorded(tmp_path) == [("COMPLETED", 60)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes through /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_server_ends_with_a_stopped_run(tmp_path: Path, how: signal.Signals) -> None:
    process = start(tmp_path, "400", "0.5")
    try:
        assert wait_until(lambda: (tmp_path / ".prefect/prefect.db").exists() and recorded_any(tmp_path), 240)
        os.killpg(process.pid, how)  # what Ctrl-C does: the whole foreground group is told
        process.communicate(timeout=120)
        assert process.returncode == -how
        assert wait_until(lambda: not servers(tmp_path))
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def recorded_any(home: Path) -> bool:
    try:
        return bool(recorded(home))
    except sqlite3.OperationalError:
        return False  # the server is still making its tables
