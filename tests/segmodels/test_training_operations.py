"""What the trainer puts in the place of Keras' own steps on TensorFlow: the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def keras_on_tensorflow() -> Any:
    import keras

    if keras.backend.backend() != "tensorflow":
        pytest.skip("these operations are TensorFlow's")
    return keras


@pytest.mark.parametrize("shape", [(4, 8, 6, 3), (2, 5, 4, 6, 3)])
def test_a_fused_norm_is_keras_norm(keras_on_tensorflow: Any, shape: tuple[int, ...]) -> None:
    import tensorflow as tf

    from segmodels.training.fused_norms import fused_norms

    keras = keras_on_tensorflow
    rng = np.random.default_rng(0)
    x = (rng.normal(size=shape) * [1, 5, 0.1] + [0, 3, -2]).astype(np.float32)
    weights = [rng.normal(size=3).astype(np.float32) for _ in range(3)] + [np.ones(3, np.float32)]
    wanted = rng.normal(size=shape).astype(np.float32)

    def step(*, fused: bool) -> list[Any]:
        image = keras.Input(shape[1:])
        layer = keras.layers.BatchNormalization(momentum=0.9)
        network = keras.Model(image, layer(image))
        network.set_weights(weights)
        variable = tf.Variable(x)

        @tf.function
        def run() -> Any:
            with tf.GradientTape() as tape:
                y = network(variable, training=True)
                loss = tf.reduce_sum(y * wanted)
            return y, tape.gradient(loss, [variable, layer.gamma.value, layer.beta.value])

        if fused:
            with fused_norms(network) as served:
                y, gradients = run()
            assert served == 1
        else:
            y, gradients = run()
        assert "call" not in vars(layer)
        moving = [layer.moving_mean.numpy(), layer.moving_variance.numpy()]
        return [y.numpy(), *(g.numpy() for g in gradients), *moving, network(x).numpy()]

    for ours, keras_own in zip(step(fused=True), step(fused=False), strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-4, atol=1e-4)


def test_a_norm_that_does_not_learn_uses_its_running_statistics(keras_on_tensorflow: Any) -> None:
    from segmodels.training.fused_norms import fused_norms

    keras = keras_on_tensorflow
    image = keras.Input((4, 4, 2))
    layer = keras.layers.BatchNormalization(epsilon=0.0)
    network = keras.Model(image, layer(image))
    network.set_weights([np.full(2, v, np.float32) for v in (2.0, 1.0, 3.0, 4.0)])
    layer.trainable = False
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype(np.float32)
    with fused_norms(network):
        found = network(x, training=True)
    np.testing.assert_allclose(found, 2.0 * (x - 3.0) / 2.0 + 1.0, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), [3.0, 3.0])


def test_our_adamw_takes_keras_steps(keras_on_tensorflow: Any) -> None:
    from segmodels.training.adamw import AdamW

    keras = keras_on_tensorflow
    rng = np.random.default_rng(0)
    start = [rng.normal(size=s).astype(np.float32) for s in [(3, 4), (5,)]]
    gradients = [[rng.normal(size=w.shape).astype(np.float32) for w in start] for _ in range(7)]

    def trained(kind: Any) -> list[Any]:
        weights = [keras.Variable(w) for w in start]
        optimizer = kind(0.01, weight_decay=0.1, global_clipnorm=1.0)
        optimizer.build(weights)
        for step, gradient in enumerate(gradients):
            optimizer.learning_rate = 0.01 / (1 + step)
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradient], weights)
        return [np.array(v.value) for v in (*weights, *optimizer.variables)]

    for ours, keras_own in zip(trained(AdamW), trained(keras.optimizers.AdamW), strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-7)
