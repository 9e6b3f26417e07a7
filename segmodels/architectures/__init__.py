"""Networks, one a file; :mod:`segmodels.registry` builds them by name."""
