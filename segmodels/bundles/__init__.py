"""Bundles: a model on disk, with its card and a golden input that proves an engine right."""
