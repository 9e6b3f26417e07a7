"""The coarse stage of a two-stage bundle: a pass of its own that finds where the fine stage looks."""
