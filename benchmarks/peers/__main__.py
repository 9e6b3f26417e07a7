"""``python -m benchmarks.peers``: makes the peers' environment, measures, prints and keeps the table."""

from __future__ import annotations

import sys

from benchmarks.main import main
from benchmarks.peers.row import ROW

if __name__ == "__main__":
    sys.exit(main({ROW.name: lambda: ROW}))
