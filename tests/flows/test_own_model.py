"""The recipes of docs/own-model.md, followed: a model comes in, an image is segmented, any cut gives one mask."""

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NETS = ROOT / "tests" / "segmodels" / "importing" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed"),
]


def recipe(heading):
    text = (ROOT / "docs" / "own-model.md").read_text(encoding="utf-8")
    return re.search(rf"## {heading}\n.*?```python\n(.*?)```", text, re.DOTALL).group(1)


@pytest.fixture
def picture(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    values = np.random.default_rng(0).integers(0, 256, (3, 100, 140), dtype=np.uint8)
    path = tmp_path / "picture.tif"
    profile = {"driver": "GTiff", "width": 140, "height": 100, "count": 3, "dtype": "uint8"}
    transform = rasterio.transform.from_origin(500000, 5200000, 5, 5)
    with rasterio.open(path, "w", crs="EPSG:32614", transform=transform, **profile) as file:
        file.write(values)
    return path


def test_a_network_of_torch(segflow, tmp_path, picture):
    say = ("--normalise", "scale:0,255", "--classes", "background,roof,road")
    made = segflow(
        "models", "import", NETS / "free.onnx", "--like", picture, "--expect", NETS / "logits.npz",
        "--out", tmp_path / "b", "--tile", "32", "--json", *say,
    )  # fmt: skip
    assert made.code == 0, made.error
    assert made.answer["agreement"]["classes"] == 1
    assert not any("--classes" in line for line in made.answer["to_check"])
    options = ("--engine", "openvino", "--precision", "float32")
    one = segflow.run(picture, tmp_path / "b", tmp_path / "one", *options, "--block", "32")
    assert one.code in (0, 5), one.error
    assert any("--licence" in note for note in one.answer["warnings"])
    two = segflow.run(picture, tmp_path / "b", tmp_path / "two", *options, "--block", "128")
    assert (one.folder / "mask.tif").read_bytes() == (two.folder / "mask.tif").read_bytes()


def test_a_model_of_keras(segflow, tmp_path, picture, monkeypatch):
    from segmodels.engines.on_keras import use_keras

    keras = use_keras("tensorflow")
    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((64, 64, 3))
    model = keras.Sequential([inputs, keras.layers.Conv2D(2, 3, padding="same", activation="softmax")])
    batch = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    exec(recipe("From Keras"), {"model": model, "batch": batch})
    made = segflow(
        "models", "import", "model.keras", "--like", picture, "--expect", "logits.npz", "--json", cwd=tmp_path
    )
    assert made.code == 0, made.error
    assert made.answer["agreement"]["worst"] < 1e-5
    ran = segflow.run(picture, tmp_path / "model", tmp_path / "out", "--engine", "openvino")
    assert ran.code in (0, 5), ran.error


def test_a_refusal_is_one_sentence(segflow, tmp_path, picture):
    (tmp_path / "m.pth").write_bytes(b"\x80\x04")
    refused = segflow("models", "import", tmp_path / "m.pth", "--like", picture, "--json")
    assert refused.code == 3
    assert len(refused.complaints) == 1
    assert "torch.onnx.export" in refused.answer["error"]
