"""Engines: a bundle opened with one fixed batch shape, ready to turn tiles into logits."""
