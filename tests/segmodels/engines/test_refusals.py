"""What no engine takes, and engines that are not taken: wrong choices, missing libraries, other logits."""

import sys

import numpy as np
import pytest

from segmodels.bundles.bundle import load_bundle, read_golden
from segmodels.bundles.write import write_bundle
from segmodels.engines import on_keras
from segmodels.engines.loading import disagreement
from segmodels.engines.opening import open_engine
from segmodels.errors import BundleError, EngineError
from segmodels.methods.method import Linear
from tests.segmodels.engines.conftest import make_card, needs_openvino, noise, onnx_convolution


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((2, 4, 4, 4), np.float32),
        np.zeros((1, 4, 4, 4)),
        np.zeros((1, 4, 4, 8), np.float32)[..., ::2],
    ],
)
def test_wrong_batches_are_refused(batch):
    opened = open_engine(load_bundle("water-ndwi"), batch=1, tile=(4, 4))
    with pytest.raises(ValueError, match="this engine takes"):
        opened.logits(batch)


def test_wrong_choices_are_refused(networks):
    method, network = load_bundle("water-ndwi"), networks[2][0]
    with pytest.raises(EngineError, match="choose auto or method"):
        open_engine(method, engine="openvino", batch=1, tile=(4, 4))
    with pytest.raises(EngineError, match="always computed in float32"):
        open_engine(method, precision="bfloat16", batch=1, tile=(4, 4))
    with pytest.raises(EngineError, match="cannot run; choose auto, tensorflow"):
        open_engine(network, engine="method", batch=1, tile=(4, 4))
    with pytest.raises(EngineError, match="There is no engine 'tpu'"):
        open_engine(network, engine="tpu", batch=1, tile=(4, 4))
    with pytest.raises(EngineError, match="choose auto, float32, bfloat16 or int8"):
        open_engine(network, precision="int4", batch=1, tile=(4, 4))
    with pytest.raises(EngineError, match="does not compute in int8; choose the engine openvino, or another"):
        open_engine(network, engine="tensorflow", precision="int8", batch=1, tile=(4, 4))
    with pytest.raises(EngineError, match="does not compute in int8; choose another precision"):
        open_engine(method, precision="int8", batch=1, tile=(4, 4))
    for batch, tile in ((0, (4, 4)), (1, (5, 4)), (1, (4, 4, 4))):
        with pytest.raises(ValueError, match="multiples of 2"):
            open_engine(network, batch=batch, tile=tile)


def test_keras_on_another_library_is_refused(networks):
    with pytest.raises(EngineError, match="Keras already runs on tensorflow"):
        open_engine(networks[2][0], engine="torch", batch=1, tile=(4, 4))


@needs_openvino
def test_onnx_runtime_is_named_where_it_is_missing(tmp_path, monkeypatch):
    (tmp_path / "m.onnx").write_bytes(onnx_convolution(noise((3, 2), seed=4), noise(3, seed=5)))
    golden = noise((1, 4, 6, 2))
    bundle = write_bundle(tmp_path / "o", card=make_card(2), onnx=tmp_path / "m.onnx", golden_input=golden)
    monkeypatch.setattr("importlib.util.find_spec", lambda asked: None)
    with pytest.raises(EngineError, match=r"needs the package onnxruntime, .* install segflow\[onnx\]"):
        open_engine(bundle, engine="onnx", batch=1, tile=(4, 4))


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_a_missing_library_is_named(networks, monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda asked: None)
    monkeypatch.delitem(sys.modules, "keras")
    with pytest.raises(EngineError, match=f"needs the package {name}, which is not installed"):
        open_engine(networks[2][0], engine=name, batch=1, tile=(4, 4))


def rewrite_golden(bundle, logits):
    """A bundle whose golden logits were made by a model that is not in it."""
    from segmodels.bundles.bundle import file_digest

    np.savez(bundle.path / "golden.npz", input=read_golden(bundle)[0], logits=logits)
    digests = {**bundle.card.digests, "golden.npz": file_digest(bundle.path / "golden.npz")}
    card = bundle.card.model_copy(update={"digests": digests})
    (bundle.path / "model.json").write_text(card.model_dump_json())
    return load_bundle(bundle.path)


def test_an_engine_that_disagrees_is_not_used(tmp_path):
    x = noise((1, 4, 4, 2))
    method = Linear(weights=((1, 0), (0, 1), (0, 0)), bias=(0, 0, 0))
    bundle = write_bundle(tmp_path / "m", card=make_card(2), method=method, golden_input=x)
    for change, reason in (
        (np.float32(0.01), "logit differs by 0.01"),
        (-2 * method.logits(x), "classes agree"),
    ):
        altered = rewrite_golden(bundle, method.logits(x) + change)
        with pytest.raises(EngineError, match=reason):
            open_engine(altered, batch=1, tile=(4, 4))
        open_engine(altered, batch=1, tile=(4, 4), verify=False)


def test_agreement_is_looser_below_float32():
    golden = noise((1, 10, 10, 1)) + 5
    golden[0, 0, 0] = -3
    assert disagreement(golden + np.float32(0.05), golden, precision="bfloat16") is None
    assert "logit differs" in str(disagreement(golden + np.float32(0.05), golden, precision="float32"))
    assert disagreement(golden + np.float32(0.004), golden, precision="float32") is None
    assert "99.00%" in str(disagreement(np.abs(golden), golden, precision="bfloat16"))
    assert disagreement(np.abs(golden), golden, precision="bfloat16", agreement=0.99) is None
    assert "finite" in str(disagreement(golden * np.float32(np.nan), golden, precision="bfloat16"))


def test_models_of_fixed_size_or_with_other_channels_are_not_written(tmp_path):
    keras = on_keras.use_keras("tensorflow")
    fixed = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(3, 1)])
    with pytest.raises(BundleError, match="any batch and tile"):
        write_bundle(tmp_path / "b", card=make_card(2), model=fixed, golden_input=noise((1, 8, 8, 2)))
    four = keras.Sequential([keras.Input((None, None, 2)), keras.layers.Conv2D(4, 1)])
    with pytest.raises(BundleError, match="promises 3 logits"):
        write_bundle(tmp_path / "b", card=make_card(2), model=four, golden_input=noise((1, 8, 8, 2)))
    assert not any(tmp_path.iterdir())
