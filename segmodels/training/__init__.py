"""Training from arrays in memory: tiles, augmentation, the loop, scores."""
