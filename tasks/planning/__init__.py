"""Planning a run: what will be computed, what it will cost, and whether it can work at all."""
