"""Many items of one output folder as one data set that other tools open: STAC, BIDS-derivatives."""
