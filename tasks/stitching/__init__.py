"""Joining blocks: border sums are added, every pixel is finished once, in raster order."""
