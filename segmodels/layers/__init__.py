"""Layers of our own, for what Keras has none: sizes known only when a model runs, positions, adaptive bins.

Each is written in ``keras.ops``, so that it runs on every backend and converts for OpenVINO, and is registered
under the package ``segmodels``, so that a bundle that names it loads in safe mode.
"""
