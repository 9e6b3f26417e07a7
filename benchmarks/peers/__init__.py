"""``make bench-peers``: the same weights and image through MONAI's ``sliding_window_inference``."""
