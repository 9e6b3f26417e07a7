"""``--variants``, ``--engine`` and ``gpu-check`` through the real command."""

import json

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "steps.tif"
    values = np.random.default_rng(0).normal(size=(1, 100, 130)).astype(np.float32)
    with rasterio.open(path, "w", driver="GTiff", width=130, height=100, count=1, dtype="float32") as out:
        out.write(values)
    return path


def mask(ran):
    with rasterio.open(ran.folder / "mask.tif") as source:
        return source.read(1)


def test_variants_of_a_per_pixel_method_give_the_same_classes_under_another_digest(
    segflow, image, make_bundle, tmp_path
):
    bundle = make_bundle((0.0, 0.8), tile=(32, 32))
    plain = segflow.run(image, bundle, tmp_path / "plain")
    full = segflow.run(image, bundle, tmp_path / "full", "--variants", "full")
    assert (plain.code, full.code) == (0, 0), full.error
    np.testing.assert_array_equal(mask(full), mask(plain))
    records = [json.loads((ran.folder / "run.json").read_text()) for ran in (plain, full)]
    assert [r["parameters"]["asked"]["variants"] for r in records] == ["none", "full"]
    assert records[0]["parameters_digest"] != records[1]["parameters_digest"]
    again = segflow.run(image, bundle, tmp_path / "full", "--variants", "full")
    assert again.answer["already_done"]


def test_oblong_tiles_cannot_turn(segflow, image, make_bundle, tmp_path):
    options = ("--variants", "full", "--tile", "32,64")
    refused = segflow.run(image, make_bundle((0.0,), tile=(32, 32)), tmp_path, *options)
    assert refused.code == 3
    assert "equal height and width, not 32×64" in refused.answer["error"]


def test_an_engine_that_cannot_run_the_bundle_is_refused(segflow, image, make_bundle, tmp_path):
    refused = segflow.run(image, make_bundle((0.0,)), tmp_path, "--engine", "onnx")
    assert refused.code == 3
    assert "choose auto or method" in refused.answer["error"]


def test_gpu_check_without_a_gpu_checks_the_cpu(segflow, make_bundle):
    bundle = make_bundle((0.0,), tile=(32, 32))
    checked = segflow("gpu-check", "--model", bundle, "--json")
    assert checked.code == 0, checked.error
    answer = json.loads(checked.output)
    assert answer["status"] == "done"
    (row,) = answer["engines"]
    assert (row["engine"], row["device"], row["agrees"], row["refused"]) == ("method", "cpu", True, None)
    assert row["mpixels_per_second"] > 0
    assert row["bare_fraction"] > 0
    shown = segflow("gpu-check", "--model", bundle)
    assert shown.code == 0
    if not answer["machine"]["gpus"]:
        assert "No NVIDIA GPU here" in shown.output
    assert "agrees" in shown.output
