"""How many threads a model may use where several processes share a machine."""

from __future__ import annotations

import os

#: Threads of one process's model; unset means the library's own choice. Only engines whose bits do not
#: depend on the number of threads may obey it (OpenVINO; not TensorFlow).
THREADS = "SEGFLOW_THREADS"


def model_threads() -> int | None:
    """The number asked for, or None for the library's own choice."""
    text = os.environ.get(THREADS, "")
    return int(text) if text.isdigit() and int(text) else None
