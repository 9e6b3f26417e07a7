"""A network made by torch becomes a bundle that gives torch's logits; what cannot is refused with the remedy."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from segmodels.bundles.bundle import load_bundle, read_golden
from segmodels.engines.layout import Layout, find_layout
from segmodels.engines.opening import open_engine
from segmodels.errors import BundleError, EngineError
from segmodels.importing.importer import import_model, peek_channels
from segmodels.importing.onnx_file import read_onnx
from segmodels.importing.wishes import Wishes, parse_normalise

DATA = Path(__file__).parent / "data"
pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")


def last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


@pytest.mark.parametrize("name", ["free", "fixed", "softmax"])
def test_a_bundle_gives_the_logits_of_torch(tmp_path, like, torch_logits, name):
    x, y = torch_logits
    made = import_model(DATA / f"{name}.onnx", like=like(), out=tmp_path / "b", expect=DATA / "logits.npz")
    card = load_bundle(tmp_path / "b").card
    assert made.agreement.classes == 1
    assert made.agreement.worst < 1e-4
    assert [c.name for c in card.classes] == ["background", "class-1", "class-2"]
    assert card.fixed_tile == (name == "fixed")
    assert card.stride == (8 if card.fixed_tile else 4)
    opened = open_engine(
        made.bundle,
        engine="openvino",
        precision="float32",
        batch=2,
        tile=card.tile if card.fixed_tile else (24, 32),
    )
    out = opened.logits(np.concatenate([last(x)] * 2))
    np.testing.assert_allclose(out[0], last(y)[0], atol=2e-4)
    np.testing.assert_array_equal(out[0], out[1])
    golden, logits = read_golden(made.bundle)
    np.testing.assert_array_equal(golden, last(x))
    np.testing.assert_allclose(logits, last(y), atol=2e-4)


def test_a_model_of_one_size_takes_no_other(tmp_path, like):
    made = import_model(DATA / "fixed.onnx", like=like(), out=tmp_path / "b")
    with pytest.raises(EngineError, match="tiles of 24×32 only"):
        open_engine(made.bundle, batch=1, tile=(48, 32))


def test_logits_may_be_saved_channels_last_or_as_probabilities(tmp_path, like, torch_logits):
    x, y = torch_logits
    e = np.exp(y - y.max(axis=1, keepdims=True))
    for number, (a, b) in enumerate(
        [(last(x), last(y)), (x[0], y[0]), (x, e / e.sum(axis=1, keepdims=True))]
    ):
        np.savez(tmp_path / "e.npz", input=a, logits=b)
        made = import_model(
            DATA / "free.onnx", like=like(), out=tmp_path / str(number), expect=tmp_path / "e.npz"
        )
        assert made.agreement.worst < 1e-4


def test_what_differs_is_refused_with_its_cause(tmp_path, like, torch_logits):
    x, y = torch_logits
    for a, b, cause in (
        (x * 255, y, "normalisation: they agree if the input is first divided by 255"),
        (x.swapaxes(2, 3), y.swapaxes(2, 3), "height and width are swapped"),
        (x[:, ::-1], y, "order of the channels"),
        (x, y[:, :, ::4, ::4], "resizes outside the model"),
        (x, y * np.float32(1.05), "Nearly all classes agree"),
        (x, y[:, ::-1], "training mode"),
        (x[:, :2], y, "takes 3 channels"),
    ):
        np.savez(tmp_path / "e.npz", input=a, logits=b)
        with pytest.raises(BundleError, match=cause):
            import_model(DATA / "free.onnx", like=like(), out=tmp_path / "b", expect=tmp_path / "e.npz")
    assert not (tmp_path / "b").exists()


def test_what_only_the_author_knows_is_marked_until_it_is_said(tmp_path, like):
    made = import_model(DATA / "free.onnx", like=like(), out=tmp_path / "b")
    text = " ".join(made.bundle.card.to_check)
    for option in ("--classes", "--normalise", "--channels", "--units", "--licence"):
        assert option in text
    wishes = Wishes(
        classes=("ground", "roof", "road"),
        channels=("red", "green", "blue"),
        units=("1",),
        normalise=parse_normalise("imagenet"),
        licence="MIT",
        tile=(130,),
    )
    card = import_model(DATA / "free.onnx", like=like(), out=tmp_path / "c", wishes=wishes).bundle.card
    assert card.to_check == ()
    assert [c.name for c in card.classes] == ["ground", "roof", "road"]
    assert card.normalise[0].offset == pytest.approx(123.675)
    assert card.tile == (128, 128)
    assert card.licence == "MIT"


def test_a_wrong_number_of_anything_is_said(tmp_path, like):
    for wishes, reason in (
        (Wishes(classes=("a", "b")), "--classes names 2, but free.onnx has 3"),
        (Wishes(channels=("a",)), "--channels names 1"),
        (Wishes(normalise=parse_normalise("none;none")), "for 2 channels"),
    ):
        with pytest.raises(BundleError, match=reason):
            import_model(DATA / "free.onnx", like=like(), out=tmp_path / "b", wishes=wishes)
    with pytest.raises(BundleError, match=r"takes 3 channels, but a\.tif has 4"):
        import_model(DATA / "free.onnx", like=like(4), out=tmp_path / "b")
    for text in ("scale:1", "minmax", "window:5,2", "zscore;x"):
        with pytest.raises(BundleError, match="is not one of none, scale"):
            parse_normalise(text)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("m.h5", "model.save"),
        ("m.pth", "torch.onnx.export"),
        ("m.pkl", "ONNX"),
        ("m.tflite", "tf2onnx"),
        ("m.x", "neither"),
    ],
)
def test_unsafe_and_foreign_files_are_refused_unread(tmp_path, like, name, remedy):
    (tmp_path / name).write_bytes(b"\x80\x04boom")
    with pytest.raises(BundleError, match=remedy):
        import_model(tmp_path / name, like=like())


def test_damaged_files_are_refused(tmp_path, like):
    whole = (DATA / "free.onnx").read_bytes()
    for content in (b"", b"not a model at all", whole[:-50], whole[:900]):
        (tmp_path / "m.onnx").write_bytes(content)
        with pytest.raises(BundleError, match="is not an ONNX model"):
            import_model(tmp_path / "m.onnx", like=like())


def test_weights_in_another_file_are_named(tmp_path, like):
    # The record that exporters write: an external tensor whose "location" is a file beside the model.
    def field(number, value):
        return bytes([number << 3 | 2, len(value)]) + value

    entry = field(13, field(1, b"location") + field(2, b"weights.bin"))
    extra = field(5, field(8, b"w") + entry)
    node = field(1, field(1, b"w") + field(2, b"y") + field(4, b"Relu"))
    output = field(12, field(1, b"y") + field(2, field(1, b"\x08\x01")))
    (tmp_path / "m.onnx").write_bytes(field(7, node + extra + output))
    assert read_onnx(tmp_path / "m.onnx").external == ("weights.bin",)
    with pytest.raises(BundleError, match=r"weights\.bin.*external_data=False"):
        import_model(tmp_path / "m.onnx", like=like())


def test_channels_are_known_before_a_model_is_opened(tmp_path):
    assert [peek_channels(DATA / f"{name}.onnx") for name in ("free", "fixed")] == [3, 3]
    (tmp_path / "m.onnx").write_bytes(b"no")
    assert peek_channels(tmp_path / "m.onnx") is None


def test_layouts():
    assert find_layout((None, 3, None, None), (None, 5, None, None), channels=3, logits=5) == Layout(
        True, True
    )
    assert find_layout((None, None, None, 3), (None, None, None, 5), channels=3, logits=5) == Layout()
    assert find_layout((1, 3, 9, 3), (1, 5, 9, 3), channels=3, logits=5) == Layout(True, True)
    assert find_layout((1, None, 8, 8), (1, 5, 8, 8), channels=3, logits=5) == Layout(True, True)
    assert find_layout((1, 3, 8, 8), (1, 8, 8, 5), channels=3, logits=5) == Layout(True, False)
    assert find_layout((None,) * 4, (None,) * 4, channels=3, logits=5) == Layout()
