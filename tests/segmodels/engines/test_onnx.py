"""ONNX files of other frameworks on OpenVINO and ONNX Runtime."""

from importlib.util import find_spec

import numpy as np
import pytest

from segmodels.bundles.write import write_bundle
from segmodels.engines.opening import open_engine
from segmodels.errors import EngineError
from tests.segmodels.engines.conftest import make_card, needs_openvino, noise, onnx_convolution


@needs_openvino
def test_onnx_channels_first(tmp_path):
    weights, bias = noise((3, 2), seed=4), noise(3, seed=5)
    (tmp_path / "m.onnx").write_bytes(onnx_convolution(weights, bias))
    golden = noise((1, 4, 6, 2))
    bundle = write_bundle(tmp_path / "o", card=make_card(2), onnx=tmp_path / "m.onnx", golden_input=golden)
    assert bundle.kind == "onnx"
    opened = open_engine(bundle, precision="float32", batch=2, tile=(6, 4))
    assert opened.name == "openvino"
    x = noise((2, 6, 4, 2), seed=6)
    out = opened.logits(x)
    assert out.flags.c_contiguous
    np.testing.assert_allclose(out, np.einsum("bhwc,kc->bhwk", x, weights) + bias, atol=1e-5)


@needs_openvino
@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_onnx_runtime_agrees_with_openvino(tmp_path):
    (tmp_path / "m.onnx").write_bytes(onnx_convolution(noise((3, 2), seed=4), noise(3, seed=5)))
    golden = noise((1, 4, 6, 2))
    bundle = write_bundle(tmp_path / "o", card=make_card(2), onnx=tmp_path / "m.onnx", golden_input=golden)
    opened = open_engine(bundle, engine="onnx", batch=2, tile=(6, 4))
    assert (opened.name, opened.precision) == ("onnx", "float32")
    other = open_engine(bundle, engine="openvino", precision="float32", batch=2, tile=(6, 4))
    x = noise((2, 6, 4, 2), seed=6)
    np.testing.assert_allclose(opened.logits(x), other.logits(x), atol=1e-5)
    with pytest.raises(EngineError, match="as it was exported"):
        open_engine(bundle, engine="onnx", precision="bfloat16", batch=1, tile=(4, 4))
