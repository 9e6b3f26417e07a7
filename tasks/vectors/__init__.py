"""Polygons of a mask: traced line by line, whole over every seam, written for a map."""
