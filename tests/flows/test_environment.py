"""The settings are in place before the libraries read them, and the user's own win."""

import os
import subprocess
import sys

PROBE = """
import os, sys
from flows.environment import prepare_environment
prepare_environment()
assert not {"prefect", "tensorflow", "openvino"} & set(sys.modules)
from prefect._internal.analytics import is_telemetry_enabled
from prefect.settings import get_current_settings
from prefect.logging.configuration import setup_logging
s = get_current_settings()
setup_logging()
import logging
print(is_telemetry_enabled(), s.server.analytics_enabled, s.server.ephemeral.startup_timeout_seconds,
      s.server.services.task_run_recorder.batch_size, s.logging.level,
      logging.getLevelName(logging.getLogger().handlers[0].level))
"""


def probe(**settings: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DO_NOT"))}
    return subprocess.run(
        [sys.executable, "-c", PROBE], env={**clean, **settings}, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_prefect_reads_the_defaults() -> None:
    assert probe() == "False False 120 1000 INFO WARNING"


def test_the_users_settings_win() -> None:
    own = {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "30",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "7",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
    }
    assert probe(**own) == "False False 30 7 DEBUG NOTSET"


def test_openvino_takes_its_silent_stub() -> None:
    program = (
        "from flows.environment import prepare_environment; prepare_environment()\n"
        "import importlib.util\n"
        "if importlib.util.find_spec('openvino') is None: print('openvino.tools.ovc.telemetry_stub')\n"
        "else:\n"
        "    import openvino.tools.ovc.telemetry_utils as used; print(used.tm.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
