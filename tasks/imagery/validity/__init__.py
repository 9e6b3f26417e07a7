"""What says which pixels were observed: rules over values, and the rasters that they read."""
