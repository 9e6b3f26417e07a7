"""``python -m benchmarks.peers``: makes the peers' environment, measures, prints and keeps the table."""

from __future__ import annotations

import sys

from benchmarks.main import main
from benchmarks.peers import metrics, row, training

if __name__ == "__main__":
    sys.exit(main({r.name: lambda r=r: r for r in (row.ROW, metrics.ROW, training.ROW)}))  # type: ignore[misc]
