"""Regions of a mask: connected components, streamed, measured, merged over every seam."""
