"""The whole run of a large raster."""

from benchmarks.rows.whole_run import raster, row

ROW = row("run2d", "2-D", raster)
