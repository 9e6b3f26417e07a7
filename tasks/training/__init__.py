"""From a configuration and a data set to a trained bundle."""
