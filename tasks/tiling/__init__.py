"""Tile geometry and exact blending: pure arithmetic, no files."""
