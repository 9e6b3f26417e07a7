"""Probabilities of every class on the image's own grid, band by band."""
