"""``make bench-peers``: the same weights through MONAI, the same metrics, the same training through its peers."""
