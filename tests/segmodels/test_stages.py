"""Two-stage bundles: written, loaded, answering as their fine stage, and refused where they cannot be or were altered."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from segmodels.bundles.bundle import load_bundle, read_golden
from segmodels.bundles.card import Card, ChannelCard, ClassCard
from segmodels.bundles.copying import copy_with_postprocess
from segmodels.bundles.ensemble import write_ensemble
from segmodels.bundles.postprocess import LargestComponents
from segmodels.bundles.stages import answering, stages_of, write_two_stage
from segmodels.bundles.write import reference_of, write_bundle
from segmodels.engines.opening import open_engine
from segmodels.errors import BundleError
from segmodels.methods.make import make_classical
from segmodels.methods.method import Linear


def write(folder, *, name="model", channels=("x", "y"), classes=("a", "b", "c"), ndims=(2,), tile=(16, 24)):
    card = Card(
        name=name,
        ndims=ndims,
        classes=tuple(ClassCard(name=n, code=i, colour="#102030") for i, n in enumerate(classes)),
        channels=tuple(ChannelCard(name=n) for n in channels),
        tile=tile,
        licence=f"licence of {name}",
    )
    rng = np.random.default_rng(sum(map(ord, name)))
    shape = (len(classes), len(channels))
    method = Linear(
        weights=tuple(map(tuple, rng.normal(size=shape).tolist())), bias=tuple(rng.normal(size=shape[0]).tolist())
    )  # fmt: skip
    golden = rng.normal(size=(1, *(8,) * max(ndims), len(channels))).astype(np.float32)
    return write_bundle(folder, card=card, method=method, golden_input=golden).path


@pytest.fixture
def pair(tmp_path):
    return write(tmp_path / "coarse", name="coarse"), write(tmp_path / "fine", name="fine")


def test_it_holds_both_and_answers_as_the_fine_one(tmp_path, pair):
    made = write_two_stage(tmp_path / "both", *pair, coarsen=(2,))
    for folder in pair:
        shutil.rmtree(folder)
    bundle = load_bundle(made.path)
    stages = stages_of(bundle)
    assert (bundle.kind, bundle.card.name, answering(bundle).card.name) == ("two-stage", "both", "fine")
    assert (stages.coarse.card.name, stages.fine.card.name) == ("coarse", "fine")
    # By default all but the first class, and a quarter of the fine stage's tile.
    assert (stages.roi.classes, stages.roi.margin, stages.roi.coarsen) == (("b", "c"), (4, 6), (2, 2))
    assert bundle.card.licence == "licence of coarse; licence of fine"
    x = np.random.default_rng(1).normal(size=(2, 16, 24, 2)).astype(np.float32)
    opened = open_engine(bundle, batch=2, tile=(16, 24))
    np.testing.assert_array_equal(
        opened.logits(x), open_engine(stages.fine, batch=2, tile=(16, 24)).logits(x)
    )
    np.testing.assert_array_equal(reference_of(bundle)(x), opened.logits(x))
    np.testing.assert_array_equal(read_golden(bundle)[0], read_golden(stages.fine)[0])


def test_a_stage_may_be_an_ensemble_and_a_copy_holds_all(tmp_path, pair):
    third = write(tmp_path / "third", name="third")
    write_ensemble(tmp_path / "all", [pair[1], third])
    made = write_two_stage(tmp_path / "both", pair[0], tmp_path / "all", margin=(3, 5))
    assert made.card.members == 2
    copied = copy_with_postprocess(made.path, tmp_path / "copy", steps=[LargestComponents(class_name="b")])
    assert copied.card.postprocess
    assert stages_of(copied).fine.digest == load_bundle(tmp_path / "all").digest
    assert copied.card.roi.margin == (3, 5)


def test_any_altered_part_gives_another_digest_or_is_refused(tmp_path, pair):
    made = write_two_stage(tmp_path / "both", *pair)
    other = write_two_stage(tmp_path / "other" / "both", *pair, margin=(4, 7))
    assert made.digest != other.digest
    card = made.path / "stages" / "coarse" / "model.json"
    whole = card.read_text()
    card.write_text(json.dumps({**json.loads(whole), "version": "2"}))
    with pytest.raises(BundleError, match="is not the stage"):
        load_bundle(made.path)
    card.write_text(whole)
    method = made.path / "stages" / "fine" / "method.json"
    held = method.read_text()
    method.write_text(held.replace("[", "[ ", 1))
    with pytest.raises(BundleError, match="sha256 differs"):
        load_bundle(made.path)
    method.write_text(held)
    load_bundle(made.path)
    listed = made.path / "stages.json"
    text = listed.read_text()
    listed.write_text(text.replace("stages/coarse", "stages/../../coarse"))
    with pytest.raises(BundleError, match="sha256 differs"):
        load_bundle(made.path)
    top = made.path / "model.json"
    digests = {**json.loads(top.read_text())["digests"]}
    digests["stages.json"] = hashlib.sha256(listed.read_bytes()).hexdigest()
    said = top.read_text()
    top.write_text(json.dumps({**json.loads(said), "digests": digests}))
    with pytest.raises(BundleError, match=r"not valid: coarse\.path"):
        load_bundle(made.path)
    listed.write_text(text)
    top.write_text(said)
    shutil.rmtree(made.path / "stages" / "coarse")
    with pytest.raises(BundleError, match="coarse is missing"):
        load_bundle(made.path)
    (made.path / "stages" / "coarse").symlink_to(pair[0])
    with pytest.raises(BundleError, match="is a link"):
        load_bundle(made.path)


def test_a_card_must_be_the_fine_stages(tmp_path, pair):
    made = write_two_stage(tmp_path / "both", *pair)
    card = made.path / "model.json"
    held = json.loads(card.read_text())
    card.write_text(json.dumps({**held, "overlap": 0.5, "roi": {**held["roi"], "margin": [0, 1]}}))
    assert load_bundle(made.path).card.roi.margin == (0, 1)
    card.write_text(json.dumps({**held, "stride": 2}))
    with pytest.raises(BundleError, match="other stride than its fine stage fine"):
        load_bundle(made.path)
    card.write_text(json.dumps({**held, "roi": None}))
    with pytest.raises(BundleError, match="does not say what the region is"):
        load_bundle(made.path)


def test_stages_that_do_not_fit_are_refused(tmp_path, pair):
    one = write(tmp_path / "one", name="one", channels=("x",))
    turned = write(tmp_path / "turned", name="turned", channels=("y", "x"))
    deep = write(tmp_path / "deep", name="deep", ndims=(3,), tile=(8, 8, 8))
    both = write_two_stage(tmp_path / "both", *pair).path
    for coarse, fine, reason in (
        (one, pair[1], r"takes 1 channel \(x\) and the fine stage fine 2 channels \(x, y\)"),
        (turned, pair[1], "in another order"),
        (deep, pair[1], "is 3-D and the fine stage fine 2-D"),
        (both, pair[1], "has two stages itself"),
        (pair[0], both, "has two stages itself"),
    ):
        with pytest.raises(BundleError, match=reason):
            write_two_stage(tmp_path / "x", coarse, fine)
    for options, reason in (
        ({"roi_classes": ["bb"]}, "no class 'bb' to make the region of: did you mean 'b'"),
        ({"margin": (1, 2, 3)}, "margin has 3 numbers and fine has 2 axes"),
        ({"margin": (-1,)}, "margin cannot be"),
        ({"coarsen": (0,)}, "coarsen cannot be"),
    ):
        with pytest.raises(BundleError, match=reason):
            write_two_stage(tmp_path / "x", *pair, **options)
    with pytest.raises(BundleError, match="already exists"):
        write_two_stage(both, *pair)
    with pytest.raises(BundleError, match="has two stages"):
        write_ensemble(tmp_path / "x", [pair[1], both])
    assert not (tmp_path / "x").exists()
    assert not list(tmp_path.glob(".x-*"))


def test_a_method_is_a_stage(tmp_path, pair):
    otsu = make_classical("otsu", tmp_path / "otsu", channels=["x", "y"]).path
    assert write_two_stage(tmp_path / "first", otsu, pair[1]).card.roi.classes == ("bright",)
    made = write_two_stage(tmp_path / "second", pair[0], otsu, margin=(4,))
    assert (made.card.ndims, made.card.roi.margin) == ((2, 3), (4, 4, 4))
