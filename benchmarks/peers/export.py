"""``python -m benchmarks.peers.export BUNDLE IMAGE FOLDER``: weights, golden tile and image as numpy files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np


def main() -> None:
    """Writes ``weights.npz`` (``layer/0``, ``layer/1`` …), ``golden.npz`` and ``image.npy``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    import rasterio

    from segmodels.bundles.bundle import load_bundle, read_golden
    from segmodels.bundles.keras_file import load_keras_file
    from segmodels.engines.on_keras import use_keras

    use_keras("tensorflow")
    bundle = load_bundle(asked.bundle)
    model = load_keras_file(bundle.model_path)
    asked.folder.mkdir(parents=True, exist_ok=True)
    weights = {
        f"{layer.name}/{i}": value for layer in model.layers for i, value in enumerate(layer.get_weights())
    }
    np.savez(asked.folder / "weights.npz", **weights)
    x, logits = read_golden(bundle)
    np.savez(asked.folder / "golden.npz", input=x, logits=logits)
    with rasterio.open(asked.image) as dataset:
        np.save(asked.folder / "image.npy", dataset.read())
    print(json.dumps({"layers": len(weights)}))


if __name__ == "__main__":
    main()
