"""An ensemble gives the mean of its members' probabilities, in any batch, and is refused when altered."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from segmodels.bundles.bundle import load_bundle
from segmodels.bundles.card import Card, ChannelCard, ClassCard, NormaliseScale
from segmodels.bundles.ensemble import write_ensemble
from segmodels.bundles.write import write_bundle
from segmodels.engines import on_keras
from segmodels.engines.opening import open_engine
from segmodels.errors import BundleError, EngineError
from segmodels.methods.method import Linear

GOLDEN = np.random.default_rng(0).normal(size=(1, 8, 8, 2)).astype(np.float32)


def make_card(**changes):
    names = ("a", "b") if changes.get("activation") == "sigmoid" else ("a", "b", "c")
    fields = {
        "name": "member",
        "ndims": (2,),
        "classes": tuple(ClassCard(name=n, code=i, colour="#102030") for i, n in enumerate(names)),
        "channels": (ChannelCard(name="x"), ChannelCard(name="y")),
        "tile": (16, 16),
    }
    return Card(**{**fields, **changes})


def linear(seed, logits):
    rng = np.random.default_rng(seed)
    weights = tuple(tuple(row) for row in rng.normal(size=(logits, 2)).tolist())
    return Linear(weights=weights, bias=tuple(rng.normal(size=logits).tolist()))


def probabilities(logits):
    logits = logits.astype(np.float64)
    if logits.shape[-1] == 1:
        p = 1 / (1 + np.exp(-logits))
        return np.concatenate([1 - p, p], axis=-1)
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.fixture
def members(tmp_path):
    """Three methods, whose logits are a matrix product."""
    methods = [linear(seed, 3) for seed in range(3)]
    folders = [
        write_bundle(tmp_path / f"m{i}", card=make_card(), method=m, golden_input=GOLDEN).path
        for i, m in enumerate(methods)
    ]
    return methods, folders


def expected(methods, x):
    each = [probabilities(x.astype(np.float64) @ np.array(m.weights).T + np.array(m.bias)) for m in methods]
    return np.mean(each, axis=0)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_mean_of_the_members_probabilities(tmp_path, activation):
    logits = 1 if activation == "sigmoid" else 3
    methods = [linear(seed, logits) for seed in range(3)]
    folders = [
        write_bundle(
            tmp_path / f"m{i}", card=make_card(activation=activation), method=m, golden_input=GOLDEN
        ).path
        for i, m in enumerate(methods)
    ]
    bundle = write_ensemble(tmp_path / "all", folders)
    assert (bundle.kind, bundle.card.members, bundle.card.name) == ("ensemble", 3, "all")
    opened = open_engine(bundle, batch=2, tile=(16, 16))
    x = np.random.default_rng(1).normal(size=(2, 16, 16, 2)).astype(np.float32)
    out = opened.logits(x)
    np.testing.assert_allclose(probabilities(out), expected(methods, x), atol=1e-6)
    np.testing.assert_array_equal(opened.logits(x[::-1].copy())[::-1], out)


def test_altered_members_are_refused(tmp_path, members):
    folders = members[1]
    bundle = write_ensemble(tmp_path / "all", folders)
    card = bundle.path / "members" / "b" / "model.json"
    whole = card.read_text()
    card.write_text(json.dumps({**json.loads(whole), "version": "2"}))
    with pytest.raises(BundleError, match="is not the member"):
        load_bundle(bundle.path)
    card.write_text(whole)
    (bundle.path / "members" / "c" / "method.json").write_text("{}")
    with pytest.raises(BundleError, match="sha256 differs"):
        load_bundle(bundle.path)
    shutil.rmtree(bundle.path / "members" / "c")
    with pytest.raises(BundleError, match="c is missing"):
        load_bundle(bundle.path)
    (bundle.path / "members" / "c").symlink_to(folders[2])
    with pytest.raises(BundleError, match="is a link"):
        load_bundle(bundle.path)


def test_members_that_do_not_fit_are_refused(tmp_path, members):
    methods, folders = members
    other = make_card(normalise=(NormaliseScale(divisor=2),))
    write_bundle(tmp_path / "n", card=other, method=methods[0], golden_input=GOLDEN)
    two = make_card(activation="sigmoid")
    write_bundle(tmp_path / "s", card=two, method=linear(0, 1), golden_input=GOLDEN)
    write_ensemble(tmp_path / "e", folders)
    for wrong, reason in (
        ("n", "another normalisation"),
        ("s", "another classes"),
        ("e", "an ensemble itself"),
    ):
        with pytest.raises(BundleError, match=reason):
            write_ensemble(tmp_path / "x", [folders[0], tmp_path / wrong])
    with pytest.raises(BundleError, match="two models or more"):
        write_ensemble(tmp_path / "x", folders[:1])
    with pytest.raises(BundleError, match="already exists"):
        write_ensemble(tmp_path / "e", folders)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "engine",
    [
        "tensorflow",
        pytest.param(
            "openvino",
            marks=[
                pytest.mark.slow,  # it converts both
                pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed"),
            ],
        ),
    ],
)
def test_networks_share_an_engine(tmp_path, monkeypatch, engine):
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache"))
    keras = on_keras.use_keras("tensorflow")
    models, folders = [], []
    for seed, stride in ((0, 2), (1, 4)):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((None, None, 2))
        low = keras.layers.Conv2D(4, 3, strides=stride, padding="same", activation="relu")(inputs)
        up = keras.layers.UpSampling2D(stride)(keras.layers.Conv2D(3, 1)(low))
        models.append(keras.Model(inputs, up))
        folders.append(tmp_path / f"m{seed}")
        card = make_card(stride=stride)
        write_bundle(folders[-1], card=card, model=models[-1], golden_input=GOLDEN)
    bundle = write_ensemble(tmp_path / "all", folders)
    assert bundle.card.stride == 4
    x = np.random.default_rng(1).normal(size=(3, 16, 16, 2)).astype(np.float32)
    mean = np.mean([probabilities(np.asarray(m(x, training=False))) for m in models], axis=0)
    opened = open_engine(bundle, engine=engine, precision="float32", batch=3, tile=(16, 16))
    assert opened.name == engine
    out = opened.logits(x)
    np.testing.assert_allclose(probabilities(out), mean, atol=1e-5)
    np.testing.assert_array_equal(opened.logits(x[::-1].copy())[::-1], out)
    with pytest.raises(EngineError, match="choose auto"):
        open_engine(bundle, engine="method", batch=1, tile=(16, 16))
