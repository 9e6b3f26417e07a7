"""Classical per-pixel methods: a bundle may hold one instead of a network."""
