"""Many images as a list of items: a folder, a glob, a BIDS or nnU-Net data set, a STAC collection."""
