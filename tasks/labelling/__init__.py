"""Training-ready data sets from finished runs, for a person to correct."""
