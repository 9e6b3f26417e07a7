"""Backbones against keras.applications: the same network, dilated, of any channels, with its weights."""

from __future__ import annotations

import numpy as np
import pytest

from segmodels.backbones import backbone_features, list_backbones
from segmodels.backbones.weights import inflate

keras = pytest.importorskip("keras")

APPLICATIONS = {"vgg16": "VGG16", "resnet50": "ResNet50", "mobilenet_v2": "MobileNetV2"}


def extractor(name: str, channels: int = 3, **options):
    image = keras.Input((None, None, channels))
    return keras.Model(image, list(backbone_features(name, image, **options)))


def run(model, x):
    return [np.asarray(y) for y in keras.tree.flatten(model(x, training=False))]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


#: Seconds to build at any width; the quick ones have all that it has.
DEEP = pytest.param("resnet50", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=["vgg16", "mobilenet_v2", DEEP])
def original(request, tmp_path_factory):
    """An application with random weights and statistics, and the file that it saves."""
    keras.utils.set_random_seed(3)
    application = getattr(keras.applications, APPLICATIONS[request.param])
    model = application(include_top=False, weights=None, input_shape=(None, None, 3))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, layer.moving_variance.shape))
    file = tmp_path_factory.mktemp("weights") / "imagenet.weights.h5"
    model.save_weights(file)
    return request.param, model, file


def test_a_file_of_weights_gives_the_applications_features_also_dilated(original):
    name, model, file = original
    x = noise(1, 64, 96, 3)
    (expected,) = run(model, x)
    norm = "none" if name == "vgg16" else "batch"
    features = run(extractor(name, weights=file, norm=norm), x)
    assert [y.shape[1:3] for y in features] == [(64 // s, 96 // s) for s in (2, 4, 8, 16, 32)]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(features[4], expected, atol=1e-4 * scale)
    dilated = run(extractor(name, weights=file, norm=norm, output_stride=8), x)
    assert [y.shape[1:3] for y in dilated] == [(64 // s, 96 // s) for s in (2, 4, 8, 8, 8)]
    np.testing.assert_allclose(dilated[2], features[2], atol=1e-4 * np.abs(features[2]).max())
    if name != "vgg16":  # a pooling that strides cannot be dilated, only replaced
        np.testing.assert_allclose(dilated[4][:, ::4, ::4], expected, atol=1e-3 * scale)


def test_grey_images_look_the_same_through_any_number_of_channels(original):
    name, model, file = original
    if name == "resnet50":
        pytest.skip("two are enough: its first convolution is inflated like theirs")
    grey = noise(1, 32, 32, 1)
    (expected,) = run(model, np.repeat(grey, 3, axis=-1))
    for channels in (1, 4, 13) if name == "vgg16" else (4,):  # with a bias; without, before a batch norm
        norm = "none" if name == "vgg16" else "batch"
        features = run(extractor(name, channels, weights=file, norm=norm), np.repeat(grey, channels, axis=-1))
        np.testing.assert_allclose(features[4], expected, atol=1e-3 * np.abs(expected).max())


def test_inflation_takes_the_colours_in_turn():
    kernel = noise(3, 3, 3, 2)
    np.testing.assert_array_equal(inflate(kernel, 3), kernel)
    five = inflate(kernel, 5)
    red, green, blue = np.moveaxis(kernel, 2, 0)
    np.testing.assert_allclose(
        np.moveaxis(five, 2, 0), [red / 2, green / 2, blue, red / 2, green / 2], rtol=1e-6
    )
    np.testing.assert_allclose(inflate(kernel, 1)[:, :, 0], red + green + blue, rtol=1e-5)


@pytest.mark.parametrize("name", [DEEP if n == "resnet50" else n for n in list_backbones()])
def test_strides_widths_and_channels(name):
    if name == "resnet101":
        pytest.skip("resnet50 with more blocks; slow to build")
    width = 1 / 16
    for output_stride, norm in ((32, "batch"), (16, "group")):
        model = extractor(name, 4, output_stride=output_stride, width=width, norm=norm)
        shapes = [y.shape for y in run(model, noise(1, 64, 32, 4))]
        strides = [min(s, output_stride) for s in (2, 4, 8, 16, 32)]
        assert [s[1:3] for s in shapes] == [(64 // s, 32 // s) for s in strides]
        if norm == "batch" and name != "vgg16":  # statistics that arrive in a short training
            momenta = {x.momentum for x in model.layers if isinstance(x, keras.layers.BatchNormalization)}
            assert momenta == {0.9}
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert not norms
    full = {"vgg16": 512, "resnet50": 2048, "mobilenet_v2": 1280, "plain": 512}[name]
    assert shapes[4][-1] == full // 16


def test_what_does_not_fit_is_refused(tmp_path):
    (tmp_path / "other.weights.h5").write_bytes(b"no weights")
    for options, said in [
        ({"name": "vgg17"}, "no backbone 'vgg17'; choose of mobilenet_v2"),
        ({"output_stride": 4}, "output_stride is 8, 16 or 32, not 4"),
        ({"width": 0}, "width is a factor above 0"),
        ({"weights": tmp_path / "no.weights.h5"}, "there is no file"),
        (
            {"weights": tmp_path / "other.weights.h5"},
            "does not hold weights of keras.applications.MobileNetV2",
        ),
        ({"weights": "x.h5", "width": 0.5}, "fit a backbone of width 1"),
        ({"name": "plain", "weights": "x.h5"}, "has no ImageNet weights"),
    ]:
        name = options.pop("name", "mobilenet_v2")
        with pytest.raises(ValueError, match=said):
            extractor(name, **options)
