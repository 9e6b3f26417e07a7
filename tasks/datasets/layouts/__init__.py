"""One module per layout: from a folder to a :class:`tasks.datasets.dataset.Dataset`."""
