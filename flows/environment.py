"""What the process must know before Prefect, TensorFlow or OpenVINO is imported: quiet, private, offline.

Each of those libraries reads its settings from the environment, some at import, and Prefect hands the same
environment to the server that it starts. So call `prepare_environment` first of all; what the user has set
stays.
"""

import os
import sys
from types import MappingProxyType
from typing import Final

DEFAULTS: Final = MappingProxyType(
    {
        # Nobody is told that segflow runs, neither by Prefect's client nor by its server.
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # A first start makes a database, which on a busy machine outlasts the usual twenty seconds.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # By default each event is written alone and what still waits at exit is lost: of eighty task runs 22
        # were recorded, with tracebacks of cancelled writes. Gathered in memory, all are written at exit.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "1000",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        # A write interrupted by the end of the run is repeated, but logged as an error. True failures of the
        # embedded server reach the user as the client's exception.
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        # Errors only: TensorFlow otherwise greets with a page about the CPU.
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
)


def prepare_environment() -> None:
    """Sets what the user has not set, for this process and those it starts.

    Prefect's own messages below warnings stay off the console but are still sent to its API, so that its
    pages show them. A user who sets `PREFECT_LOGGING_LEVEL` gets on the console what they asked for.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
    block_openvino_telemetry()


def block_openvino_telemetry() -> None:
    """Makes OpenVINO's converter take the silent stub that it has for machines without its telemetry package.

    It knows no setting for this: without a file in the user's home that says no, it reports each conversion.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: "not installed"
