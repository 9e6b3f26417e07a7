"""Bundles: what is refused, and that it is refused before anything is deserialised."""

import io
import json
import re
import shutil
import zipfile

import numpy as np
import pytest

from segmodels.bundles import bundle as bundle_module
from segmodels.bundles.bundle import file_digest, load_bundle, read_golden, shipped_bundles
from segmodels.bundles.card import Card, ChannelCard, ClassCard
from segmodels.bundles.keras_file import inspect_keras_file, load_keras_file
from segmodels.bundles.write import measure_bundle, write_bundle
from segmodels.errors import BundleError
from segmodels.methods.method import Linear
from segmodels.zoo.make_water_ndwi import make

CARD = Card(
    name="tiny",
    ndims=(2, 3),
    classes=(ClassCard(name="no", code=0, colour="#000000"), ClassCard(name="yes", code=1, colour="#ffffff")),
    channels=(ChannelCard(name="x"),),
    tile=(8, 8),
)
METHOD = Linear(weights=((0,), (1,)), bias=(0.5, 0))
GOLDEN = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1) / 8


@pytest.fixture
def folder(tmp_path):
    write_bundle(tmp_path / "tiny", card=CARD, method=METHOD, golden_input=GOLDEN)
    return tmp_path / "tiny"


def edit_card(folder, **changes):
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, **changes}))


def relist(folder, name):
    """Lists ``name`` in the card with its true digest, as a careful attacker would."""
    card = json.loads((folder / "model.json").read_text())
    edit_card(folder, digests={**card["digests"], name: file_digest(folder / name)})


def test_round_trip(folder):
    bundle = load_bundle(folder)
    assert (bundle.kind, bundle.card.name, bundle.model_path.name) == ("method", "tiny", "method.json")
    assert set(bundle.card.digests) == {"method.json", "golden.npz"}
    assert sorted(p.name for p in folder.parent.iterdir()) == ["tiny"]  # no temporary folder is left
    x, y = read_golden(bundle)
    np.testing.assert_array_equal(x, GOLDEN)
    np.testing.assert_array_equal(y[..., 1], GOLDEN[..., 0])
    assert (y[..., 0] == 0.5).all()


def test_the_digest_covers_the_card(folder):
    before = load_bundle(folder).digest
    assert re.fullmatch("sha256:[0-9a-f]{64}", before)
    assert load_bundle(str(folder)).digest == before
    edit_card(folder, version="2")
    assert load_bundle(folder).digest != before


def test_altered_files_are_refused_before_they_are_read(folder, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("deserialised")

    monkeypatch.setattr(bundle_module, "read_method", never)
    monkeypatch.setattr(np, "load", never)
    for name in ("method.json", "golden.npz"):
        original = (folder / name).read_bytes()
        (folder / name).write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        with pytest.raises(BundleError, match=rf"{name} is not the file its card describes"):
            load_bundle(folder)
        (folder / name).write_bytes(original)


def test_incomplete_bundles_are_refused(folder):
    golden = (folder / "golden.npz").read_bytes()
    (folder / "golden.npz").unlink()
    with pytest.raises(BundleError, match=r"golden\.npz is missing"):
        load_bundle(folder)
    digests = load_digests(folder)
    edit_card(folder, digests={"method.json": digests["method.json"]})
    with pytest.raises(BundleError, match=r"golden\.npz is missing"):
        load_bundle(folder)
    (folder / "golden.npz").write_bytes(golden)
    with pytest.raises(BundleError, match=r"golden\.npz is not listed"):
        load_bundle(folder)


def load_digests(folder):
    return json.loads((folder / "model.json").read_text())["digests"]


def test_two_models_or_none_are_refused(folder):
    (folder / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"has model\.onnx and method\.json"):
        load_bundle(folder)
    (folder / "model.onnx").unlink()
    (folder / "method.json").unlink()
    edit_card(folder, digests={"golden.npz": load_digests(folder)["golden.npz"]})
    with pytest.raises(BundleError, match="but has none"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["weights.h5", "model.PKL", "extra.py"])
def test_files_that_may_run_code_are_refused(folder, name):
    (folder / name).write_bytes(b"")
    with pytest.raises(BundleError, match="can run code"):
        load_bundle(folder)


def test_nothing_leads_outside(folder, tmp_path):
    outside = tmp_path / "outside.json"
    shutil.move(folder / "method.json", outside)
    (folder / "method.json").symlink_to(outside)
    with pytest.raises(BundleError, match="is a link"):
        load_bundle(folder)
    (folder / "method.json").unlink()
    shutil.copy(outside, folder / "method.json")
    for name in ("../outside.json", str(outside), "a/../../outside.json", ".."):
        edit_card(folder, digests={**load_digests(folder), name: file_digest(outside)})
        with pytest.raises(BundleError, match="no plain file name"):
            load_bundle(folder)
        edit_card(folder, digests={k: v for k, v in load_digests(folder).items() if k != name})


def test_bad_cards_say_where(folder):
    edit_card(folder, tile=[0, 8])
    with pytest.raises(BundleError, match="tile sizes must be positive"):
        load_bundle(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(BundleError, match="not a valid card"):
        load_bundle(folder)


def test_a_golden_file_with_pickles_is_refused(folder):
    np.savez(folder / "golden.npz", input=np.array([{}], object), logits=GOLDEN)
    relist(folder, "golden.npz")
    with pytest.raises(BundleError, match="golden"):
        read_golden(load_bundle(folder))


def test_unknown_names_name_the_shipped_ones(tmp_path):
    assert "water-ndwi" in shipped_bundles()
    with pytest.raises(BundleError, match="did you mean 'water-ndwi'"):
        load_bundle("water-nwdi")
    with pytest.raises(BundleError, match=r"shipped bundles are .*water-ndwi"):
        load_bundle(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"has no model\.json"):
        load_bundle(tmp_path)


def test_every_shipped_bundle_is_whole():
    for name in shipped_bundles():
        bundle = load_bundle(name)
        assert bundle.card.name == name
        assert bundle.card.licence
        read_golden(bundle)


def test_the_shipped_water_bundle_is_what_its_script_writes(tmp_path):
    made, shipped = make(tmp_path / "water-ndwi"), load_bundle("water-ndwi")
    same = {"digests": {}, "receptive_radius": (0, 0)}
    assert made.card.model_copy(update=same) == shipped.card.model_copy(update=same)
    assert made.model_path.read_bytes() == shipped.model_path.read_bytes()
    for a, b in zip(read_golden(made), read_golden(shipped), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"golden_input": GOLDEN.astype(np.float64)}, "float64"),
        ({"golden_input": GOLDEN[0]}, "takes float32"),
        ({"golden_input": np.concatenate([GOLDEN] * 3)}, "one or two inputs"),
        ({"method": Linear(weights=((1, 1),), bias=(0,))}, "does not fit the card"),
        ({"method": None}, "exactly one"),
    ],
)
def test_what_does_not_fit_is_not_written(tmp_path, changes, message):
    arguments = {"card": CARD, "method": METHOD, "golden_input": GOLDEN, **changes}
    with pytest.raises(BundleError, match=message):
        write_bundle(tmp_path / "new", **arguments)
    assert not any(tmp_path.iterdir())


def test_the_receptive_radius_is_measured_kept_or_added(tmp_path):
    from segmodels.engines.on_keras import use_keras

    keras = use_keras("tensorflow")
    inputs = keras.Input((None, None, 1))
    mean = keras.layers.AveragePooling2D((5, 3), 1, padding="same")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(mean))
    card = CARD.model_copy(update={"ndims": (2,), "tile": (32, 32)})
    written = write_bundle(tmp_path / "m", card=card, model=model, golden_input=GOLDEN)
    assert written.card.receptive_radius == (2, 1)
    given = card.model_copy(update={"receptive_radius": (7, 8)})
    kept = write_bundle(tmp_path / "k", card=given, model=model, golden_input=GOLDEN)
    assert kept.card.receptive_radius == (7, 8)
    edit_card(tmp_path / "m", receptive_radius=None)
    assert load_bundle(tmp_path / "m").card.receptive_radius is None
    assert measure_bundle(tmp_path / "m") == written
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["golden.npz", "model.json", "model.keras"]
    method = write_bundle(tmp_path / "p", card=CARD, method=METHOD, golden_input=GOLDEN)
    assert method.card.receptive_radius == (0, 0)
    edit_card(tmp_path / "m", receptive_radius=[1, 2, 3])
    with pytest.raises(BundleError, match="one radius per size of the tile"):
        load_bundle(tmp_path / "m")


def test_an_existing_folder_is_replaced_only_when_asked_and_only_if_a_bundle(folder, tmp_path):
    with pytest.raises(BundleError, match="already exists"):
        write_bundle(folder, card=CARD, method=METHOD, golden_input=GOLDEN)
    card = CARD.model_copy(update={"version": "2"})
    made = write_bundle(folder, card=card, method=METHOD, golden_input=GOLDEN, overwrite=True)
    assert load_bundle(folder).card.version == made.card.version == "2"
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(BundleError, match="already exists"):
        write_bundle(tmp_path / "mine", card=CARD, method=METHOD, golden_input=GOLDEN, overwrite=True)


def keras_zip(path, config, **members):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "node",
    [
        {"module": "keras.layers", "class_name": "Lambda", "config": {}},
        {"class_name": "__lambda__", "config": {"value": "x"}},
        {"module": "builtins", "class_name": "function", "config": "eval"},
        {"module": "keras.utils", "class_name": "function", "config": "get_file"},
        {"module": "keras.src.utils.file_utils", "class_name": "function", "config": "get_file"},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}},
        {"module": "os", "class_name": "system", "registered_name": "segmodels>system"},
        {"module": "keras_evil", "class_name": "Layer"},
        {"module": "mine", "class_name": "Layer", "registered_name": "mine>Layer"},
        # Modules of ours that register no classes may do other things when they are imported or called.
        {"module": "segmodels.engines.convert", "class_name": "main", "registered_name": "segmodels>main"},
        {"module": "segmodels.layers_evil", "class_name": "Layer", "registered_name": "segmodels>Layer"},
    ],
)
def test_only_classes_of_keras_and_segmodels_are_let_in(tmp_path, node):
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [{"deep": [node]}]}}
    with pytest.raises(BundleError, match=r"can run code|only classes of"):
        inspect_keras_file(keras_zip(tmp_path / "model.keras", config))


def test_registered_segmodels_classes_are_imported_first(tmp_path):
    node = {"module": "segmodels.losses", "class_name": "Loss", "registered_name": "segmodels>Loss"}
    config = {"module": "keras", "class_name": "Sequential", "config": [node]}
    assert inspect_keras_file(keras_zip(tmp_path / "model.keras", config)) == ["segmodels.losses"]


@pytest.mark.parametrize(
    "node",
    [
        {"module": "segmodels.layers.sizes", "class_name": "ops", "registered_name": "segmodels>ops"},
        {"module": "segmodels.losses", "class_name": "Sequence", "registered_name": "segmodels>Sequence"},
        {"module": "segmodels.layers.of_the_future", "class_name": "X", "registered_name": "segmodels>X"},
        {"module": None, "class_name": "X", "registered_name": "segmodels>X"},
    ],
)
def test_of_our_modules_only_registered_classes_are_let_in(tmp_path, monkeypatch, node):
    keras = pytest.importorskip("keras")
    monkeypatch.setattr(keras.saving, "load_model", lambda *a, **k: pytest.fail("deserialised"))
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [node]}}
    with pytest.raises(BundleError, match="this version of segmodels does not have"):
        load_keras_file(keras_zip(tmp_path / "model.keras", config))


def test_layers_of_segmodels_load_in_safe_mode_and_those_of_others_do_not(tmp_path):
    keras = pytest.importorskip("keras")
    from segmodels.layers.sizes import PadToStride

    @keras.saving.register_keras_serializable(package="foreign")
    class Foreign(keras.layers.Layer):
        def call(self, x):
            return x

    image = keras.Input((None, None, 1))
    for layer, allowed in ((PadToStride((4, 4)), True), (Foreign(), False)):
        keras.Model(image, layer(image)).save(tmp_path / "model.keras")
        if allowed:
            assert load_keras_file(tmp_path / "model.keras").layers[1].stride == (4, 4)
        else:
            with pytest.raises(BundleError, match="only classes of Keras and segmodels"):
                load_keras_file(tmp_path / "model.keras")


def test_damaged_or_stuffed_keras_files_are_refused(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"not a zip")
    with pytest.raises(BundleError, match="not a Keras 3 model"):
        load_keras_file(tmp_path / "model.keras")
    file = keras_zip(tmp_path / "model.keras", {}, **{"assets/evil.pkl": b""})
    with pytest.raises(BundleError, match=r"assets/evil\.pkl"):
        load_keras_file(file)


def test_a_lambda_written_by_keras_is_refused(tmp_path, monkeypatch):
    keras = pytest.importorskip("keras")
    layers = [keras.Input((None, None, 1)), keras.layers.Lambda(lambda x: x)]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    monkeypatch.setattr(keras.saving, "load_model", lambda *a, **k: pytest.fail("deserialised"))
    with pytest.raises(BundleError, match="contains Lambda"):
        load_keras_file(tmp_path / "model.keras")


def test_golden_arrays_must_fit_the_card(folder):
    buffer = io.BytesIO()
    np.savez(buffer, input=GOLDEN, logits=GOLDEN)
    (folder / "golden.npz").write_bytes(buffer.getvalue())
    relist(folder, "golden.npz")
    with pytest.raises(BundleError, match="do not fit a card"):
        read_golden(load_bundle(folder))
