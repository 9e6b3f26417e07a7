"""Every architecture on JAX, and torch where installed: the logits of TensorFlow from the same file.

Keras runs on one library per process, so the other reads models, inputs and logits from disk.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segmodels.registry import list_models
from segmodels.supervision import plain

COMPARE = """
import sys
from pathlib import Path
import keras
import numpy as np
from segmodels.bundles.keras_file import load_keras_file
assert keras.backend.backend() == sys.argv[2]
for file in sorted(Path(sys.argv[1]).glob("*.keras")):
    model = load_keras_file(file)
    with np.load(file.with_suffix(".npz")) as known:
        found = model.predict(known["x"], verbose=0)  # compiled as a whole, which costs JAX the least
        print(file.stem, float(np.abs(found - known["y"]).max()), sep=";", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("library", ["jax", "torch"])
def test_the_same_logits_as_on_tensorflow(narrow, variants, tmp_path, library):
    import keras

    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    # What keras.applications gives is tested on all of them by Keras, and takes JAX minutes to build.
    chosen = [v for v in variants if not v.endswith(("resnet50", "mobilenet_v2"))]
    assert {v.split()[0] for v in chosen} == set(list_models())
    for variant in chosen:
        model = plain(narrow(variant))
        size = (9, 33) if len(model.input_shape) == 4 else (5, 16, 9)
        x = np.random.default_rng(0).normal(size=(1, *size, 1)).astype(np.float32)
        file = tmp_path / variant.replace(" ", "-")
        for layer in model.layers:
            # Loading draws weights before it reads them, and JAX compiles that for every shape: zeros are quick.
            if hasattr(layer, "kernel_initializer"):
                layer.kernel_initializer = keras.initializers.Zeros()
        model.save(file.with_suffix(".keras"))
        np.savez(file.with_suffix(".npz"), x=x, y=np.asarray(model(x, training=False)))
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "KERAS_BACKEND": library, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", COMPARE, str(tmp_path), library],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    worst = {name: float(value) for name, value in (line.split(";") for line in done.stdout.splitlines())}
    assert len(worst) == len(chosen)
    assert max(worst.values()) <= 1e-3, worst
