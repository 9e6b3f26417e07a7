"""What makes each architecture the one that its name says."""

from __future__ import annotations

import numpy as np
import pytest

from segmodels.architectures.attention import gate, scse
from segmodels.architectures.parts import Parts
from segmodels.registry import build, strides

keras = pytest.importorskip("keras")


def kinds(model, kind: str) -> list[str]:
    return [layer.name for layer in model.layers if type(layer).__name__ == kind]


def grid(layer) -> tuple[int, ...]:
    return tuple(layer.output.shape[1:3])


@pytest.mark.parametrize(("name", "stride", "added"), [("fcn32", 32, 0), ("fcn16", 16, 1), ("fcn8", 8, 2)])
def test_fcn_has_no_dense_layer_and_adds_its_scores(name, stride, added):
    model = build(name, channels=3, classes=5, width=1 / 64, size=(64, 96), norm="none")
    assert not kinds(model, "Dense")
    assert not kinds(model, "Concatenate")
    assert model.get_layer("fc_conv6").kernel_size == (7, 7)
    assert model.get_layer("fc_conv7").kernel_size == (1, 1)
    assert len(kinds(model, "Add")) == added
    for i in range(4, 4 - added, -1):
        assert grid(model.get_layer(f"score_pool{i}")) == (64 // 2**i, 96 // 2**i)
    last = model.get_layer("logits")
    assert last.strides == (stride, stride)
    assert last.kernel.path in {v.path for v in model.trainable_variables}
    # It starts bilinear: a constant stays a constant away from the border.
    flat = np.asarray(last(np.ones((1, 4, 4, 5), np.float32)))[0, stride:-stride, stride:-stride]
    np.testing.assert_allclose(flat, 1, atol=1e-5)


def test_only_places_cross_segnet():
    model = build("segnet", channels=3, classes=2, filters=(4, 6, 8), convolutions=(2, 2, 3))
    assert not kinds(model, "Concatenate")
    assert not kinds(model, "Add")
    assert not kinds(model, "Conv2DTranspose")
    assert not kinds(model, "UpSampling2D")
    assert len(kinds(model, "MaxUnpooling")) == 3
    for i in range(3):
        values, places = model.get_layer(f"unpool{i}").input
        assert places is model.get_layer(f"pool{i}").output[1]
        assert values is not model.get_layer(f"pool{i}").output[0] or i == 2  # the deepest follows at once
    assert sum("_conv" in name and name.startswith("decode") for name in kinds(model, "Conv2D")) == 7


def test_pspnet_pools_a_fine_grid_into_four_pyramids():
    model = build("pspnet", channels=3, classes=2, backbone="resnet50", width=1 / 16, size=(64, 96))
    assert [model.get_layer(n).bins for n in kinds(model, "AdaptiveAveragePooling")] == [1, 2, 3, 6]
    assert grid(model.get_layer("conv5_block3_out")) == (8, 12)
    assert model.get_layer("conv5_block2_2_conv").dilation_rate == (4, 4)
    features = model.get_layer("conv5_block3_out").output.shape[-1]
    assert model.get_layer("pyramid").output.shape[1:] == (8, 12, 2 * features)


@pytest.mark.parametrize(("output_stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_deeplab_looks_at_several_rates(output_stride, rates):
    options = {"backbone": "plain", "size": (64, 64), "output_stride": output_stride}
    model = build("deeplab_v3_plus", channels=3, classes=2, **options)
    names = [n for n in kinds(model, "Conv2D") if n.startswith("aspp_rate")]
    assert [model.get_layer(n).dilation_rate for n in names] == [(r, r) for r in rates]
    assert model.get_layer("aspp").output.shape[1:] == (64 // output_stride, 64 // output_stride, 5 * 256)
    assert model.get_layer("with_low").output.shape[1:] == (16, 16, 256 + 48)
    for i in (1, 2):
        layer = model.get_layer(f"decode_conv{i}")
        assert (layer.kernel_size, layer.filters) == ((3, 3), 256)
    plain = build("deeplab_v3", channels=3, classes=2, **options)
    assert "with_low" not in [layer.name for layer in plain.layers]


def test_kernels_and_strides_per_axis():
    model = build(
        "residual_unet",
        channels=1,
        classes=2,
        ndim=3,
        filters=(4, 6, 8, 8),
        blocks=(1, 1, 2, 1),
        kernels=((1, 3, 3), (1, 3, 3), 3, 3),
        strides=(1, (1, 2, 2), 2, (1, 2, 2)),
    )
    assert strides(model) == (2, 8, 8)
    assert model.get_layer("down1_block0_conv1").kernel_size == (1, 3, 3)
    assert model.get_layer("down1_block0_conv1").strides == (1, 2, 2)
    assert model.get_layer("up1").strides == (2, 2, 2)
    # The first two levels do not mix slices, but the third does.
    x = np.random.default_rng(0).normal(size=(1, 4, 16, 16, 1)).astype(np.float32)
    shallow = keras.Model(model.inputs, model.get_layer("down1_block0_out").output)
    changed = x.copy()
    changed[:, 3] += 1
    before, after = (np.asarray(shallow(v)) for v in (x, changed))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert not np.array_equal(before[:, 3], after[:, 3])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def built(block, *shapes: tuple[int, ...]):
    inputs = [keras.Input(shape[1:]) for shape in shapes]
    model = keras.Model(inputs, block(*inputs))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def test_the_gate_weights_each_pixel_of_the_skip():
    rng = np.random.default_rng(1)
    skip, up = (rng.normal(size=(1, 3, 4, c)).astype(np.float32) for c in (4, 6))
    model = built(lambda a, b: gate(Parts(2), a, b, "x"), skip.shape, up.shape)
    w = {layer.name: [v.numpy() for v in layer.weights] for layer in model.layers}
    both = np.maximum(
        skip @ w["x_gate_skip"][0][0, 0] + up @ w["x_gate_signal"][0][0, 0] + w["x_gate_signal"][1], 0
    )
    share = sigmoid(both @ w["x_gate_share"][0][0, 0] + w["x_gate_share"][1])
    np.testing.assert_allclose(np.asarray(model([skip, up])), skip * share, rtol=1e-4, atol=1e-5)


def test_scse_weights_channels_and_pixels():
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 6)).astype(np.float32)
    model = built(lambda a: scse(Parts(2), a, "x"), x.shape)
    w = {layer.name: [v.numpy() for v in layer.weights] for layer in model.layers}
    squeezed = np.maximum(x.mean(axis=(1, 2)) @ w["x_excite1"][0][0, 0] + w["x_excite1"][1], 0)
    channel = sigmoid(squeezed @ w["x_excite2"][0][0, 0] + w["x_excite2"][1])[:, None, None]
    pixel = sigmoid(x @ w["x_where"][0][0, 0] + w["x_where"][1])
    np.testing.assert_allclose(np.asarray(model(x)), x * channel + x * pixel, rtol=1e-4, atol=1e-5)
