"""A Keras model becomes a bundle: its size freed, its softmax left out; custom layers are named."""

import numpy as np
import pytest

from segmodels.bundles.bundle import read_golden
from segmodels.bundles.keras_file import load_keras_file
from segmodels.engines import on_keras
from segmodels.errors import BundleError
from segmodels.importing.importer import import_model, peek_channels


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def keras():
    return on_keras.use_keras("tensorflow")


def net(keras, *, last, side=64):
    layers = keras.layers
    keras.utils.set_random_seed(1)
    inputs = keras.Input((side, side, 3))
    top = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", activation="relu")(inputs))
    low = layers.Conv2D(4, 3, padding="same")(layers.MaxPooling2D(2)(top))
    both = layers.Concatenate()([top, layers.UpSampling2D(2)(low)])
    if last == "layer":
        outputs = layers.Activation("softmax")(layers.Conv2D(3, 1)(both))
    else:
        outputs = layers.Conv2D(1 if last == "sigmoid" else 3, 1, activation=last)(both)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("last", ["softmax", "layer", "sigmoid", None])
def test_size_is_freed_and_the_activation_left_out(tmp_path, like, keras, last):
    model = net(keras, last=last)
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    y = np.asarray(model(x, training=False))
    np.savez(tmp_path / "e.npz", input=x, logits=y)
    made = import_model(tmp_path / "model.keras", like=like(), out=tmp_path / "b", expect=tmp_path / "e.npz")
    assert peek_channels(tmp_path / "model.keras") == 3
    assert made.bundle.card.stride == 2
    assert made.bundle.card.activation == ("sigmoid" if last == "sigmoid" else "softmax")
    assert load_keras_file(made.bundle.model_path).input_shape == (None, None, None, 3)
    logits = read_golden(made.bundle)[1]
    ours = {"sigmoid": lambda v: 1 / (1 + np.exp(-v)), None: lambda v: v}.get(last, softmax)(logits)
    np.testing.assert_allclose(ours, y, atol=1e-5)


def test_a_custom_layer_is_named_with_what_to_do(tmp_path, like, keras):
    class Scale(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, keras.layers.Conv2D(3, 1)(Scale(name="twice")(inputs))).save(tmp_path / "m.keras")
    with pytest.raises(BundleError, match=r"Scale, the layer 'twice'.*ONNX"):
        import_model(tmp_path / "m.keras", like=like(), out=tmp_path / "b")


def test_what_is_no_segmentation_is_refused(tmp_path, like, keras):
    layers = keras.layers
    inputs = keras.Input((None, None, 3))
    several = layers.Conv2D(3, 1, activation="sigmoid")(inputs)
    lower = layers.Conv2D(3, 3, strides=4, padding="same")(inputs)
    vector = layers.Dense(2)(layers.GlobalAveragePooling2D()(inputs))
    for outputs, reason in ((several, "sigmoid over 3"), (lower, "needs every pixel"), (vector, "decoder")):
        keras.Model(inputs, outputs).save(tmp_path / "m.keras")
        with pytest.raises(BundleError, match=reason):
            import_model(tmp_path / "m.keras", like=like(), out=tmp_path / "b")
    fixed = keras.Input((16, 16, 3))
    dense = layers.Reshape((16, 16, 2))(layers.Dense(512)(layers.Flatten()(fixed)))
    keras.Model(fixed, dense).save(tmp_path / "m.keras")
    with pytest.raises(BundleError, match="cannot be freed"):
        import_model(tmp_path / "m.keras", like=like(), out=tmp_path / "b")
