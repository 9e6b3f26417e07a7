"""Scenes: bands as separate files, with the metadata of their product."""
