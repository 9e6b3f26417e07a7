"""``python -m benchmarks.peers``: makes the peers' environment, measures, prints and keeps the table."""

from __future__ import annotations

import sys

from benchmarks.main import main
from benchmarks.peers import metrics, row

if __name__ == "__main__":
    sys.exit(main({row.ROW.name: lambda: row.ROW, metrics.ROW.name: lambda: metrics.ROW}))
