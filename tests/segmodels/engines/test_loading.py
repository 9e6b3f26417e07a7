"""What is loaded, and what is not."""

import os
import subprocess
import sys
from pathlib import Path

import segmodels
from segmodels.engines.opening import open_engine
from tests.segmodels.engines.conftest import needs_openvino


@needs_openvino
def test_a_converted_model_needs_neither_tensorflow_nor_telemetry(networks, cache):
    bundle = networks[2][0]
    open_engine(bundle, engine="openvino", batch=1, tile=(16, 16))
    # Some file systems take no colon in a name.
    names = [p.name for p in (cache / "segflow" / "openvino").iterdir()]
    assert names
    assert not any(":" in name for name in names)
    script = (
        "import sys, platformdirs\n"
        f"platformdirs.user_cache_dir = lambda name: {str(cache)!r} + '/' + name\n"
        "from segmodels import load_bundle, open_engine\n"
        f"e = open_engine(load_bundle({str(bundle.path)!r}), engine='openvino', batch=2, tile=(8, 8))\n"
        "assert e.name == 'openvino'\n"
        "loaded = {m.split('.')[0] for m, v in sys.modules.items() if v is not None}\n"
        "assert not loaded & {'tensorflow', 'keras', 'openvino_telemetry'}, loaded\n"
    )
    root = str(Path(segmodels.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_segmodels_loads_nothing_heavy():
    script = (
        "import sys, segmodels, segmodels.engines.opening, segmodels.bundles.write\n"
        "heavy = {'tensorflow', 'keras', 'openvino', 'scipy', 'torch', 'jax'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(segmodels.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
