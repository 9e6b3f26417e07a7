"""Tiny networks as bundles, and what tests of engines share."""

from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import pytest

from segmodels.bundles.card import Card, ChannelCard, ClassCard
from segmodels.bundles.write import write_bundle
from segmodels.engines import on_keras

ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("tensorflow", "openvino")
]
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")


def make_card(ndims, **changes):
    names = ("air", "soil", "water")
    fields = {
        "name": f"tiny{ndims}d",
        "ndims": (ndims,),
        "classes": tuple(ClassCard(name=n, code=i, colour="#102030") for i, n in enumerate(names)),
        "channels": (ChannelCard(name="a"), ChannelCard(name="b")),
        "tile": (16,) * ndims,
        "stride": 2,
    }
    return Card(**{**fields, **changes})


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@contextmanager
def cached_in(folder):
    """Everything that is cached lies in ``folder``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("platformdirs.user_cache_dir", lambda name: str(folder / name))
        patch.setenv("XDG_CACHE_HOME", str(folder))  # for the processes that measure
        yield


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def cache(cache_folder):
    with cached_in(cache_folder):
        yield cache_folder


@pytest.fixture(scope="session")
def networks(tmp_path_factory, cache_folder):
    """Bundles of two tiny networks with a pooling, a skip and two norms, and the Keras models themselves."""
    with cached_in(cache_folder):
        return {ndims: network(ndims, tmp_path_factory.mktemp("bundles")) for ndims in (2, 3)}


def network(ndims, folder):
    keras = on_keras.use_keras("tensorflow")
    layers = keras.layers
    keras.utils.set_random_seed(ndims)
    convolution = layers.Conv2D if ndims == 2 else layers.Conv3D
    pooling = layers.MaxPooling2D if ndims == 2 else layers.MaxPooling3D
    growing = layers.UpSampling2D if ndims == 2 else layers.UpSampling3D
    inputs = keras.Input((*[None] * ndims, 2))
    top = layers.BatchNormalization()(convolution(8, 3, padding="same", activation="relu")(inputs))
    low = layers.GroupNormalization(4)(convolution(8, 3, padding="same")(pooling(2)(top)))
    model = keras.Model(inputs, convolution(3, 1)(layers.Concatenate()([top, growing(2)(low)])))
    golden = noise((1, *(8,) * ndims, 2))
    return write_bundle(
        folder / f"net{ndims}", card=make_card(ndims), model=model, golden_input=golden
    ), model


def field(number, value):
    """One protobuf field: an integer, or bytes."""

    def varint(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_convolution(weights, bias):
    """ONNX bytes of a 1×1 convolution, channels first, of free batch and size (onnx itself is not needed)."""

    def tensor(name, array):
        dims = b"".join(field(1, n) for n in array.shape)
        return field(5, dims + field(2, 1) + field(8, name) + field(9, array.astype("<f4").tobytes()))

    def value(number, name, channels):
        dims = [field(2, "n"), field(1, channels), field(2, "h"), field(2, "w")]
        shape = b"".join(field(1, d) for d in dims)
        return field(number, field(1, name) + field(2, field(1, field(1, 1) + field(2, shape))))

    logits, channels = weights.shape
    node = b"".join(field(1, n) for n in "xwb") + field(2, "y") + field(4, "Conv")
    graph = field(1, node) + field(2, "g") + tensor("w", weights[..., None, None]) + tensor("b", bias)
    graph += value(11, "x", channels) + value(12, "y", logits)
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))
