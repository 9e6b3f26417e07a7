"""Rasters: what GDAL reads, and masks as COG."""
