"""Engines against a plain Keras call, against each other, and against their promises."""

import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import segmodels
from segmodels.bundles.bundle import load_bundle, read_golden
from segmodels.bundles.card import Card, ChannelCard, ClassCard
from segmodels.bundles.write import write_bundle
from segmodels.engines import on_keras
from segmodels.engines.backend import compile_exactly
from segmodels.engines.loading import disagreement
from segmodels.engines.opening import open_engine
from segmodels.errors import BundleError, EngineError
from segmodels.methods.method import Linear

ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("tensorflow", "openvino")
]
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
TILE = {2: (16, 24), 3: (8, 8, 12)}


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


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr("platformdirs.user_cache_dir", lambda name: str(folder / name))
        patch.setenv("XDG_CACHE_HOME", str(folder))  # for the processes that measure
        yield folder


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Bundles of two tiny networks with a pooling, a skip and two norms, and the Keras models themselves."""
    keras = on_keras.use_keras("tensorflow")
    layers, made = keras.layers, {}
    for ndims in (2, 3):
        keras.utils.set_random_seed(ndims)
        convolution = layers.Conv2D if ndims == 2 else layers.Conv3D
        pooling = layers.MaxPooling2D if ndims == 2 else layers.MaxPooling3D
        growing = layers.UpSampling2D if ndims == 2 else layers.UpSampling3D
        inputs = keras.Input((*[None] * ndims, 2))
        top = layers.BatchNormalization()(convolution(8, 3, padding="same", activation="relu")(inputs))
        low = layers.GroupNormalization(4)(convolution(8, 3, padding="same")(pooling(2)(top)))
        model = keras.Model(inputs, convolution(3, 1)(layers.Concatenate()([top, growing(2)(low)])))
        path = tmp_path_factory.mktemp("bundles") / f"net{ndims}"
        golden = noise((1, *(8,) * ndims, 2))
        made[ndims] = write_bundle(path, card=make_card(ndims), model=model, golden_input=golden), model
    return made


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


def test_the_shipped_water_index_finds_open_water(shared_data):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(shared_data / "naip" / "m_4709963_se_14_1_20190904.tif") as source:
        pixels = np.moveaxis(source.read(), 0, -1)[None].astype(np.float32, order="C")
    opened = open_engine(load_bundle("water-ndwi"), batch=1, tile=pixels.shape[1:3])
    water = opened.logits(pixels)[0, ..., 0] > 0
    assert water[440:470, 460:490].all()  # the lake in the middle
    assert not water[310:330, 200:220].any()  # a field
    assert 0.2 < water.mean() < 0.3


@needs_openvino
def test_a_converted_model_needs_neither_tensorflow_nor_telemetry(networks, cache):
    bundle = networks[2][0]
    open_engine(bundle, engine="openvino", batch=1, tile=(16, 16))
    # Some file systems take no colon in a name.
    names = [p.name for p in (cache / "segflow" / "openvino").iterdir()]
    assert names
    assert not any(":" in name for name in names)
    script = (
        "import sys, platformdirs\n"
        f"platformdirs.user_cache_dir = lambda name: {str(cache)!r} + '/' + name\n"
        "from segmodels import load_bundle, open_engine\n"
        f"e = open_engine(load_bundle({str(bundle.path)!r}), engine='openvino', batch=2, tile=(8, 8))\n"
        "assert e.name == 'openvino'\n"
        "loaded = {m.split('.')[0] for m, v in sys.modules.items() if v is not None}\n"
        "assert not loaded & {'tensorflow', 'keras', 'openvino_telemetry'}, loaded\n"
    )
    root = str(Path(segmodels.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_segmodels_loads_nothing_heavy():
    script = (
        "import sys, segmodels, segmodels.engines.opening, segmodels.bundles.write\n"
        "heavy = {'tensorflow', 'keras', 'openvino', 'scipy', 'torch', 'jax'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(segmodels.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


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


@needs_openvino
@pytest.mark.parametrize("ndims", [2, 3])
def test_int8_is_coarse_near_and_exact_in_its_last_layer(networks, ndims):
    bundle, _ = networks[ndims]
    x, exact = read_golden(bundle)  # beyond its range int8 clips
    tile = x.shape[1:-1]
    opened = open_engine(bundle, engine="openvino", precision="int8", batch=1, tile=tile, verify=False)
    assert (opened.name, opened.precision) == ("openvino", "int8")
    out = opened.logits(x)
    error = np.abs(out - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.1
    assert len(np.unique(out)) > min(256, x.size // 2)


@needs_openvino
def test_int8_keeps_what_eight_bits_can_hold(tmp_path):
    """Weights of 127 steps and inputs of 255: integer arithmetic then has nothing to round."""
    keras = on_keras.use_keras("tensorflow")
    rng = np.random.default_rng(0)
    inputs = keras.Input((None, None, 2))
    convolution, last = keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Conv2D(3, 1)
    model = keras.Model(inputs, last(convolution(inputs)))
    kernel = rng.integers(-127, 128, convolution.kernel.shape)
    kernel[0, 0, 0] = 127
    convolution.kernel.assign(kernel / 127)
    golden = rng.integers(0, 256, (1, 8, 8, 2)).astype(np.float32) / 255
    golden[0, 0, 0] = 1
    golden[0, 0, 1] = 0
    bundle = write_bundle(tmp_path / "b", card=make_card(2), model=model, golden_input=golden)
    opened = open_engine(bundle, engine="openvino", precision="int8", batch=1, tile=(8, 8), verify=False)
    # what is left is the rest of the network in bfloat16, where the processor has it
    np.testing.assert_allclose(opened.logits(golden), np.asarray(model(golden)), atol=0.02)
