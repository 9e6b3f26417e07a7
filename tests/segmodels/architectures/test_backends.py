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
        for i in range(len(known.files) // 2):
            found = keras.ops.convert_to_numpy(model(known[f"x{i}"], training=False))
            print(file.stem, known[f"x{i}"].shape, np.abs(found - known[f"y{i}"]).max(), sep=";")
"""


@pytest.mark.slow
@pytest.mark.parametrize("library", ["jax", "torch"])
def test_the_same_logits_as_on_tensorflow(narrow, variants, tmp_path, library):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    expected = 0
    for variant in variants:
        model = plain(narrow(variant))
        sizes = [(64, 32), (9, 18)] if len(model.input_shape) == 4 else [(5, 16, 9)]
        arrays = {}
        for i, size in enumerate(sizes):
            x = np.random.default_rng(i).normal(size=(1, *size, 1)).astype(np.float32)
            arrays |= {f"x{i}": x, f"y{i}": np.asarray(model(x, training=False))}
            expected += 1
        model.save(tmp_path / f"{variant.replace(' ', '-')}.keras")
        np.savez(tmp_path / f"{variant.replace(' ', '-')}.npz", **arrays)
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
    lines = [line.split(";") for line in done.stdout.splitlines()]
    assert len(lines) == expected
    worst = {name: float(difference) for name, _, difference in lines}
    assert max(worst.values()) <= 1e-3, worst
