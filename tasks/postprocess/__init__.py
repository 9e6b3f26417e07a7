"""Global steps on the stitched mask: largest component, minimum size, holes."""
