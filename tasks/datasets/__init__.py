"""Data sets of images with their truth: what lies where, what is wrong with it, tiles from it."""
