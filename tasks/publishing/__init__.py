"""From work files to a published item: digests, ownership, one atomic move."""
