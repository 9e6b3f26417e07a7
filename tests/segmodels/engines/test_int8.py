"""Eight bits: coarse, but near, and exact where nothing is to be rounded."""

import numpy as np
import pytest

from segmodels.bundles.bundle import read_golden
from segmodels.bundles.write import write_bundle
from segmodels.engines import on_keras
from segmodels.engines.opening import open_engine
from tests.segmodels.engines.conftest import make_card, needs_openvino


@needs_openvino
@pytest.mark.parametrize("ndims", [2, 3])
def test_int8_is_coarse_near_and_exact_in_its_last_layer(networks, ndims):
    bundle, _ = networks[ndims]
    x, exact = read_golden(bundle)  # beyond its range int8 clips
    tile = x.shape[1:-1]
    opened = open_engine(bundle, engine="openvino", precision="int8", batch=1, tile=tile, verify=False)
    assert (opened.name, opened.precision) == ("openvino", "int8")
    out = opened.logits(x)
    error = np.abs(out - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.1
    assert len(np.unique(out)) > min(256, x.size // 2)


@needs_openvino
def test_int8_keeps_what_eight_bits_can_hold(tmp_path):
    """Weights of 127 steps and inputs of 255: integer arithmetic then has nothing to round."""
    keras = on_keras.use_keras("tensorflow")
    rng = np.random.default_rng(0)
    inputs = keras.Input((None, None, 2))
    convolution, last = keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Conv2D(3, 1)
    model = keras.Model(inputs, last(convolution(inputs)))
    kernel = rng.integers(-127, 128, convolution.kernel.shape)
    kernel[0, 0, 0] = 127
    convolution.kernel.assign(kernel / 127)
    golden = rng.integers(0, 256, (1, 8, 8, 2)).astype(np.float32) / 255
    golden[0, 0, 0] = 1
    golden[0, 0, 1] = 0
    bundle = write_bundle(tmp_path / "b", card=make_card(2), model=model, golden_input=golden)
    opened = open_engine(bundle, engine="openvino", precision="int8", batch=1, tile=(8, 8), verify=False)
    # what is left is the rest of the network in bfloat16, where the processor has it
    np.testing.assert_allclose(opened.logits(golden), np.asarray(model(golden)), atol=0.02)
