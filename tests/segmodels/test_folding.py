"""A folded model against the model it was made of."""

import numpy as np
import pytest

from segmodels.engines.folding import fold_batch_norm
from segmodels.engines.on_keras import use_keras


@pytest.fixture(scope="module")
def keras():
    return use_keras("tensorflow")


def settle(keras, model, seed=0):
    """Gives every norm statistics as after a training: nothing near 0 and 1."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(size=layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.3, 3, layer.moving_variance.shape))
            if layer.scale:
                layer.gamma.assign(rng.uniform(-2, 2, layer.gamma.shape))
            if layer.center:
                layer.beta.assign(rng.normal(size=layer.beta.shape))
    return model


def norms(keras, model):
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def assert_same(model, folded, shape):
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    expected, found = np.asarray(model(x, training=False)), np.asarray(folded(x, training=False))
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("ndims", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_every_kind_of_convolution(keras, ndims, transposed, bias, affine):
    layers = keras.layers
    kind = getattr(layers, f"Conv{ndims}D{'Transpose' * transposed}")
    inputs = keras.Input((*[None] * ndims, 3))
    x = kind(5, 3, strides=2, padding="same", use_bias=bias, bias_initializer="he_normal")(inputs)
    x = layers.BatchNormalization(scale=affine, center=affine, epsilon=0.01)(x)
    model = settle(keras, keras.Model(inputs, layers.Activation("relu")(x)))
    folded = fold_batch_norm(model)
    assert norms(keras, folded) == []
    assert_same(model, folded, (2, *(8,) * ndims, 3))


def test_the_unet(keras):
    from segmodels.architectures.unet import unet

    model = settle(keras, unet(channels=2, classes=3, filters=(4, 8, 16)))
    folded = fold_batch_norm(model)
    assert len(norms(keras, model)) == 10
    assert norms(keras, folded) == []
    assert_same(model, folded, (1, 16, 24, 2))


def test_what_must_stay(keras):
    layers = keras.layers
    inputs = keras.Input((None, None, 2))
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    looked_at = layers.Conv2D(4, 3, padding="same")(inputs)
    branches = [
        layers.BatchNormalization(name="after_activation")(
            layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
        ),
        layers.BatchNormalization(name="looked_at")(looked_at),
        looked_at,
        layers.BatchNormalization(name="shared_once")(shared(inputs)),
        shared(layers.Concatenate()([inputs])),
        layers.BatchNormalization(name="after_pooling")(layers.AveragePooling2D(2, 1, "same")(looked_at)),
        layers.BatchNormalization(name="folded")(layers.Conv2D(4, 1, use_bias=False)(inputs)),
    ]
    model = settle(keras, keras.Model(inputs, layers.Concatenate()(branches)))
    folded = fold_batch_norm(model)
    assert sorted(norms(keras, folded)) == ["after_activation", "after_pooling", "looked_at", "shared_once"]
    assert_same(model, folded, (1, 6, 6, 2))


def test_an_output_between_the_two_stays_an_output(keras):
    layers = keras.layers
    inputs = keras.Input((None, 2))
    between = layers.Conv1D(3, 1)(inputs)
    model = settle(keras, keras.Model(inputs, [between, layers.BatchNormalization()(between)]))
    assert fold_batch_norm(model) is model


def test_sequential_models_fold_and_others_pass(keras):
    layers = keras.layers
    model = keras.Sequential([keras.Input((None, None, 2)), layers.Conv2D(3, 3), layers.BatchNormalization()])
    folded = fold_batch_norm(settle(keras, model))
    assert norms(keras, folded) == []
    assert_same(model, folded, (1, 5, 5, 2))
    plain = keras.Sequential([keras.Input((None, None, 2)), layers.Conv2D(3, 3)])
    assert norms(keras, fold_batch_norm(plain)) == []
    unbuilt = keras.Sequential([layers.Conv2D(3, 3)])
    assert fold_batch_norm(unbuilt) is unbuilt


def test_the_precision_of_each_layer_is_kept(keras):
    layers = keras.layers
    inputs = keras.Input((None, None, 2))
    x = layers.BatchNormalization(dtype="mixed_bfloat16")(layers.Conv2D(3, 3, dtype="mixed_bfloat16")(inputs))
    model = keras.Model(inputs, layers.Conv2D(2, 1, dtype="float32")(x))
    folded = fold_batch_norm(settle(keras, model))
    assert norms(keras, folded) == []
    assert [layer.compute_dtype for layer in folded.layers[1:]] == ["bfloat16", "float32"]
