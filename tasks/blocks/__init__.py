"""Segmenting one block: read with halo, normalise, run the model, leave immutable files."""
