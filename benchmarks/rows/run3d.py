"""The whole run of a volume."""

from benchmarks.rows.whole_run import row, volume

ROW = row("run3d", "3-D", volume)
