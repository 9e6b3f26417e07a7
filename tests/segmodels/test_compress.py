"""Smaller bundles: what they lose is measured by arithmetic, and they run like any other."""

from importlib.util import find_spec

import numpy as np
import pytest

from segmodels.bundles.bundle import load_bundle, read_golden
from segmodels.bundles.card import Card, ChannelCard, ClassCard
from segmodels.bundles.write import reference_of, write_bundle
from segmodels.compressing.compress import compress_bundle, loss
from segmodels.compressing.graph import pruned, rounded
from segmodels.engines import on_keras
from segmodels.engines.choosing import choose
from segmodels.engines.opening import open_engine
from segmodels.errors import BundleError, EngineError
from segmodels.exporting.export import export_bundle

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr("platformdirs.user_cache_dir", lambda name: str(folder / name))
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A network that learnt nothing, with kernels of two sizes."""
    keras = on_keras.use_keras("tensorflow")
    layers = keras.layers
    keras.utils.set_random_seed(3)
    inputs = keras.Input((None, None, 2))
    top = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    low = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(top)
    up = layers.Conv2DTranspose(16, 2, strides=2)(low)
    model = keras.Model(inputs, layers.Conv2D(3, 1)(layers.Concatenate()([top, up])))
    card = Card(
        name="parent",
        ndims=(2,),
        classes=tuple(ClassCard(name=n, code=i, colour="#102030") for i, n in enumerate("abc")),
        channels=(ChannelCard(name="x"), ChannelCard(name="y")),
        tile=(32, 32),
        stride=2,
        agreement=0.98,
    )
    golden = np.random.default_rng(0).normal(size=(1, 32, 32, 2)).astype(np.float32)
    folder = tmp_path_factory.mktemp("p") / "parent"
    return write_bundle(folder, card=card, model=model, golden_input=golden)


def probabilities(logits):
    e = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("to", "share", "size"), [("bf16", 0.0, 0.55), ("int8", 0.0, 0.4), ("bf16", 0.5, 0.55)]
)
def test_narrow_bundles_run_and_say_what_they_lose(tmp_path, parent, to, share, size):
    tile = np.random.default_rng(1).normal(size=(1, 16, 24, 2)).astype(np.float32)
    made = compress_bundle(
        parent.path, tmp_path / "c", to=to, prune_share=share, calibration=[tile], timed=False
    )
    found = load_bundle(tmp_path / "c").card.derived
    assert made.kind == "openvino"
    assert found.parent == parent.digest
    assert found.pixels == 32 * 32 + 16 * 24
    # The same figures by hand.
    same = moved = 0.0
    for x in (read_golden(parent)[0], tile):
        p, q = (probabilities(reference_of(b)(x)) for b in (parent, made))
        same += (p.argmax(-1) == q.argmax(-1)).sum()
        moved += np.abs(p - q).sum() / 2
    assert found.agreement == pytest.approx(same / found.pixels)
    assert found.difference == pytest.approx(moved / found.pixels, rel=1e-3, abs=1e-7)
    assert 0 < found.difference < (0.02 if not share else 0.5)
    weights = (made.path / "model.bin").stat().st_size
    assert weights < size * 4 * (2 * 16 * 9 + 16 * 32 * 9 + 32 * 16 * 4 + 32 * 3)  # of the float32 kernels
    opened = open_engine(made, batch=2, tile=(32, 32), precision="int8" if to == "int8" else "float32")
    out = opened.logits(np.concatenate([read_golden(parent)[0]] * 2))
    assert np.mean(out[0].argmax(-1) == read_golden(made)[1][0].argmax(-1)) > 0.98
    if to == "int8":
        assert choose(made, batch=1, tile=(32, 32)).precision == "int8"
        with pytest.raises(EngineError, match="was brought to int8"):
            open_engine(made, precision="float32", batch=1, tile=(32, 32))


def test_a_pruned_keras_model_stays_one(tmp_path, parent):
    from segmodels.bundles.keras_file import load_keras_file

    made = compress_bundle(parent.path, tmp_path / "c", prune_share=0.75, timed=False)
    assert (made.kind, made.card.name) == ("keras", "parent-pruned")
    for layer in load_keras_file(made.model_path).layers:
        if hasattr(layer, "kernel"):
            kernel = np.asarray(layer.kernel)
            assert np.mean(kernel == 0) == pytest.approx(0.75, abs=0.02)
    assert made.card.derived.size < 1
    open_engine(made, engine="tensorflow", precision="float32", batch=1, tile=(32, 32))


def test_pruning_takes_the_smallest_and_bfloat16_is_the_nearest():
    weights = np.array([[3, -1], [0.5, -4]], np.float32)
    np.testing.assert_array_equal(pruned(weights, 0.5), [[3, 0], [0, -4]])
    np.testing.assert_array_equal(pruned(weights, 0), weights)
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    wanted = tf.cast(tf.cast(x, tf.bfloat16), tf.float32).numpy()
    np.testing.assert_array_equal(rounded(x), wanted)


def test_no_loss_is_none(parent):
    run = reference_of(parent)
    x, _ = read_golden(parent)
    assert loss(run, run, [x], parent) == (1, 0, 32 * 32)


def test_what_makes_no_sense_is_refused(tmp_path, parent):
    for options, reason in (
        ({}, "Nothing is to be done"),
        ({"to": "int4"}, "not one of bf16, int8"),
        ({"prune_share": 1.0}, "is not a share"),
    ):
        with pytest.raises(BundleError, match=reason):
            compress_bundle(parent.path, tmp_path / "c", timed=False, **options)
    with pytest.raises(BundleError, match=r"only a Keras or ONNX model"):
        compress_bundle("water-ndwi", tmp_path / "c", to="int8", timed=False)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("to", "name"), [("openvino", "m.xml"), ("savedmodel", "m")])
def test_exports_give_the_golden_logits(tmp_path, parent, to, name):
    made = export_bundle(parent.path, to=to, out=tmp_path / name)
    assert made.classes == 1
    assert made.worst < 1e-4
    x, y = read_golden(parent)
    if to == "savedmodel":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(tmp_path / name))
        out = loaded.serve(x).numpy()
    else:
        import openvino as ov

        options = {"INFERENCE_PRECISION_HINT": ov.Type.f32}
        out = ov.compile_model(ov.Core().read_model(tmp_path / name), "CPU", options)(x)[0]
    np.testing.assert_allclose(out, y, atol=1e-4)
    with pytest.raises(BundleError, match="exists; choose another --out"):
        export_bundle(parent.path, to=to, out=tmp_path / name)


def test_exports_that_cannot_be_are_refused(tmp_path, parent, monkeypatch):
    for model, to, name, reason in (
        ("water-ndwi", "onnx", "m.onnx", "cannot become onnx"),
        (parent.path, "tflite", "m", "is not one of"),
        (parent.path, "onnx", "m.xml", "must end in .onnx"),
    ):
        with pytest.raises(BundleError, match=reason):
            export_bundle(model, to=to, out=tmp_path / name)
    monkeypatch.setattr("importlib.util.find_spec", lambda asked: None)
    with pytest.raises(EngineError, match=r"tf2onnx.*install segflow\[export\]"):
        export_bundle(parent.path, to="onnx", out=tmp_path / "m.onnx")
    assert not any(tmp_path.iterdir())
