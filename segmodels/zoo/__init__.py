"""The bundles that come with segmodels, one folder each; ``load_bundle(name)`` finds them."""
