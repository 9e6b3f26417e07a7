"""Engines against a plain Keras call, against each other, and against their promises."""

import threading

import numpy as np
import pytest

from segmodels.bundles.bundle import load_bundle
from segmodels.engines.backend import compile_exactly
from segmodels.engines.opening import open_engine
from tests.segmodels.engines.conftest import ENGINES, noise

TILE = {2: (16, 24), 3: (8, 8, 12)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ndims", [2, 3])
def test_networks_agree_with_a_plain_keras_call_and_keep_their_bits(networks, engine, ndims):
    bundle, model = networks[ndims]
    opened = open_engine(bundle, engine=engine, precision="float32", batch=3, tile=TILE[ndims])
    assert (opened.name, opened.precision) == (engine, "float32")
    assert opened.library.startswith(engine)
    x = noise((3, *TILE[ndims], 2), seed=1)
    out = opened.logits(x)
    assert out.dtype == np.float32
    assert out.shape == (3, *TILE[ndims], 3)
    np.testing.assert_allclose(out, np.asarray(model(x, training=False)), atol=2e-4)
    kept = out.copy()
    for position in range(3):
        other = noise(x.shape, seed=10 + position) * 5
        other[position] = x[0]
        np.testing.assert_array_equal(opened.logits(other)[position], kept[0])
    np.testing.assert_array_equal(out, kept)  # an earlier answer is never overwritten
    again = open_engine(bundle, engine=engine, precision="float32", batch=3, tile=TILE[ndims], verify=False)
    np.testing.assert_array_equal(again.logits(x), kept)


def test_methods_keep_their_bits_too():
    bundle = load_bundle("water-ndwi")
    opened = open_engine(bundle, batch=2, tile=(5, 7))
    assert (opened.name, opened.precision) == ("method", "float32")
    x = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 4)).astype(np.float32)
    out = opened.logits(x)
    green, nir = x[..., 1].astype(np.float64), x[..., 3].astype(np.float64)
    expected = 20 * ((green - nir) / (green + nir) - 0.15)
    np.testing.assert_allclose(out[..., 0], expected, atol=1e-4)
    np.testing.assert_array_equal(opened.logits(x[::-1].copy())[1], out[0])


def test_a_library_that_minds_the_place_in_the_batch_runs_tile_by_tile():
    class Backend:
        name = precision = library = "x"
        batching = "probe"
        shapes = []

        def compile(self, shape):
            self.shapes.append(shape)
            return lambda x: x + np.float32(self.fault) * np.arange(len(x), dtype=np.float32)[:, None, None]

    x = noise((3, 4, 1))
    for fault, batching, shapes in (
        (0, "probe", [(3, 4, 1)]),
        (1e-6, "probe", [(3, 4, 1), (1, 4, 1)]),
        (1e-6, "single", [(1, 4, 1)]),
    ):
        Backend.fault, Backend.batching, Backend.shapes = fault, batching, []
        np.testing.assert_array_equal(compile_exactly(Backend(), (3, 4, 1))(x), x)
        assert Backend.shapes == shapes


@pytest.mark.parametrize("callers", [1, 2])
@pytest.mark.parametrize("engine", ENGINES)
def test_several_threads_may_share_an_engine(networks, engine, callers):
    wanted = {"engine": engine, "batch": 1, "tile": (16, 16), "verify": False}
    alone = open_engine(networks[2][0], **wanted)
    opened = open_engine(networks[2][0], **wanted, callers=callers)
    assert 1 <= opened.callers <= callers
    inputs = [noise((1, 16, 16, 2), seed=s) for s in range(8)]
    expected = [alone.logits(x) for x in inputs]
    found = [None] * 8

    def work(i):
        found[i] = opened.logits(inputs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(found, expected)


def test_bfloat16_is_coarser_but_agrees(networks):
    bundle, model = networks[2]
    opened = open_engine(
        bundle, engine="tensorflow", precision="bfloat16", batch=1, tile=(16, 16), verify=False
    )
    x = noise((1, 16, 16, 2))
    out, exact = opened.logits(x), np.asarray(model(x, training=False))
    assert out.dtype == np.float32
    assert 0 < np.abs(out - exact).max() < 0.1
    # the output layer alone stays float32, so logits are not multiples of a bfloat16 step
    assert (out.view(np.uint32) & 0xFFFF).any()


def test_the_shipped_water_index_finds_open_water(shared_data):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(shared_data / "naip" / "m_4709963_se_14_1_20190904.tif") as source:
        pixels = np.moveaxis(source.read(), 0, -1)[None].astype(np.float32, order="C")
    opened = open_engine(load_bundle("water-ndwi"), batch=1, tile=pixels.shape[1:3])
    water = opened.logits(pixels)[0, ..., 0] > 0
    assert water[440:470, 460:490].all()  # the lake in the middle
    assert not water[310:330, 200:220].any()  # a field
    assert 0.2 < water.mean() < 0.3
