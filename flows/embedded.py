"""Prefect's embedded server, made to live exactly as long as the run.

Prefect starts it beside the run when no server is configured. Left as it is, Ctrl-C in a terminal stops the
server too, and the run then waits for minutes to tell a dead server that it was stopped; and a run that is
killed leaves its server behind. Here the server has a process group of its own and leaves when the run does.

This file is also the program of that server: `python -P embedded.py PORT`.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.settings import get_current_settings


@contextmanager
def quiet_server(*, debug: bool = False) -> Iterator[None]:
    """Runs the body with the embedded server coming up beside it, unless the settings name another server.

    The first flow waits until the server answers. It is left to Prefect to stop it when the process ends,
    after the events and log lines still on their way have been delivered.

    Args:
        debug: Whether the server's own warnings and errors are shown.
    """
    if use_embedded_server(debug=debug):
        threading.Thread(target=_start_ahead, daemon=True).start()
    yield


def use_embedded_server(*, debug: bool = False) -> bool:
    """Makes Prefect start this module's embedded server when it needs one; starts nothing yet.

    Args:
        debug: Whether the server's own warnings and errors are shown.

    Returns:
        Whether the embedded server will be used: not if the user's settings name another one.
    """
    settings = get_current_settings()
    if settings.api.url is not None or not settings.server.ephemeral.enabled:
        return False

    from prefect.server.api.server import SubprocessASGIServer

    class EmbeddedServer(SubprocessASGIServer):
        """Started once, by whichever thread asks first; the others wait."""

        _starting = threading.Lock()

        def start(self, timeout: int | None = None) -> None:
            with self._starting:
                super().start(timeout)

        def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
            return _launch(int(self.port or 0), debug=debug)

    if SubprocessASGIServer._instances.get(None) is None:
        EmbeddedServer()  # registers itself: Prefect's calls of SubprocessASGIServer() return this instance
    return True


def _start_ahead() -> None:
    from prefect.server.api.server import SubprocessASGIServer

    try:
        SubprocessASGIServer().start()
    except (OSError, RuntimeError):
        return  # the first flow starts it again, and raises what comes of that


def _launch(port: int, *, debug: bool) -> subprocess.Popen[Any]:
    environment = {
        **os.environ,
        **get_current_settings().to_environment_variables(exclude_unset=True),
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
    }
    if debug:
        environment["PREFECT_SERVER_LOGGING_LEVEL"] = "WARNING"
    return subprocess.Popen(
        # -P: modules beside this file, or in the working directory, must not stand for others.
        [sys.executable, "-P", str(Path(__file__).resolve()), str(port)],
        stdin=subprocess.PIPE,  # held open and never written to: its end says that this process has ended
        process_group=0,
        env=environment,
    )


def _leave_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def serve(port: int) -> None:
    """Runs Prefect's API on the loopback interface until told to end, or until its parent process ends."""
    import uvicorn

    threading.Thread(target=_leave_with_parent, daemon=True).start()
    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]))
