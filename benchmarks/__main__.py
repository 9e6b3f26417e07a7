"""``python -m benchmarks``: measures segflow, prints the table and keeps it."""

from __future__ import annotations

import sys
from functools import partial

from benchmarks.main import main
from benchmarks.rows import NAMES, load

if __name__ == "__main__":
    sys.exit(main({name: partial(load, name) for name in NAMES}))
