"""What every architecture does: any size, any channels, logits, one file that loads in safe mode."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segmodels.bundles.keras_file import load_keras_file
from segmodels.engines.folding import fold_batch_norm
from segmodels.registry import ARCHITECTURES, build, list_models, options_of, stride, strides
from segmodels.supervision import loss_weights, outputs, plain, targets

SIZES = {2: [(1, 1), (17, 5), (333, 257)], 3: [(1, 1, 1), (5, 33, 18)]}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def run(model, x: np.ndarray) -> np.ndarray:
    return np.asarray(model(x, training=False))


def test_every_architecture_has_a_variant(variants):
    assert {name.split()[0] for name in variants} == set(list_models())


def test_any_size_is_padded_inside_and_cropped_back(narrow, variant):
    model = plain(narrow(variant))
    ndim = len(model.input_shape) - 2
    for size in SIZES[ndim]:
        y = run(model, noise(1, *size, 1))
        assert y.shape == (1, *size, 3)
        assert y.dtype == np.float32
        assert np.isfinite(y).all()
    # Padding is zeros behind the image: an image with those zeros of its own gives the same logits.
    size = SIZES[ndim][1]
    x = noise(1, *size, 1)
    ends = [(0, -n % s) for n, s in zip(size, strides(model), strict=True)]
    whole = run(model, np.pad(x, [(0, 0), *ends, (0, 0)]))
    assert whole.shape[1:-1] == tuple(n + more for n, (_, more) in zip(size, ends, strict=True))
    np.testing.assert_allclose(
        run(model, x), whole[(slice(None), *(slice(n) for n in size))], atol=1e-4, rtol=1e-4
    )
    assert all(stride(model) % s == 0 for s in strides(model))


def test_one_four_and_thirteen_channels(narrow, variant):
    for channels in (4, 13):
        model = plain(narrow(variant, channels=channels, classes=1))
        ndim = len(model.input_shape) - 2
        assert run(model, noise(2, *(9,) * ndim, channels)).shape == (2, *(9,) * ndim, 1)


def test_saved_loaded_in_safe_mode_folded_the_same_logits(narrow, variant, tmp_path):
    model = plain(narrow(variant))
    x = noise(1, *((24, 41) if len(model.input_shape) == 4 else (9, 16, 12)), 1)
    expected = run(model, x)
    assert expected.std() > 1e-6
    model.save(tmp_path / "model.keras")
    loaded = load_keras_file(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(loaded, x), expected)
    assert strides(loaded) == strides(model)
    folded = fold_batch_norm(loaded)
    assert len(folded.layers) <= len(model.layers)
    np.testing.assert_allclose(run(folded, x), expected, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.slow
def test_logits_are_float32_under_mixed_bfloat16(narrow, variant, tmp_path):
    model = plain(narrow(variant))
    model.save(tmp_path / "model.keras")
    x = noise(1, *(16,) * (len(model.input_shape) - 2), 1)
    mixed = load_keras_file(tmp_path / "model.keras", policy="mixed_bfloat16")
    found, expected = run(mixed, x), run(model, x)
    assert found.dtype == np.float32
    # A logit rounded to bfloat16 would keep its value when rounded once more.
    low = found.view(np.uint32) & 0xFFFF
    assert (low != 0).mean() > 0.5
    np.testing.assert_allclose(found, expected, atol=0.1 * np.abs(expected).max() + 0.05)


@pytest.mark.parametrize("variant", ["pspnet plain", "residual_unet", "residual_unet 3-D"])
def test_outputs_for_training_and_the_plain_model(narrow, variant):
    model = narrow(variant)
    size = (9, 33, 18)[-(len(model.input_shape) - 2) :]
    x = noise(2, *size, 1)
    several = model(x, training=False)
    labels = np.arange(2 * int(np.prod(size))).reshape(2, *size)
    assert len(several) == len(model.outputs) >= 2
    for y, output, target in zip(several, outputs(model), targets(labels, model), strict=True):
        assert y.shape[:-1] == target.shape
        assert y.shape[1:-1] == tuple(-(-n // s) for n, s in zip(size, output.scale, strict=True))
    alone = plain(model)
    assert alone.output_shape[-1] == 3
    np.testing.assert_array_equal(run(alone, x), np.asarray(several[0]))
    assert {id(w) for w in alone.weights} < {id(w) for w in model.weights}
    assert plain(alone) is alone
    if variant.startswith("pspnet"):
        assert loss_weights(model) == [1.0, 0.4]
    else:
        assert sum(loss_weights(model)) == pytest.approx(1)
        assert loss_weights(model)[0] == 2 * loss_weights(model)[1]


def test_the_table_and_its_errors():
    assert list_models(task="semantic") == list_models() == sorted(ARCHITECTURES)
    assert list_models(ndim=3) == ["context_unet", "residual_unet", "unet"]
    for name in list_models():
        assert {"size", "norm", "dropout", "name"} <= set(options_of(name))
    with pytest.raises(ValueError, match="there are context_unet, deeplab_v3"):
        build("vnet", channels=1, classes=2)
    with pytest.raises(ValueError, match="segnet has 2 spatial axes, not 3; with 3 there are: context_unet"):
        build("segnet", channels=1, classes=2, ndim=3)
    with pytest.raises(ValueError, match="no option 'filter'; it takes filters, convolutions"):
        build("segnet", channels=1, classes=2, filter=3)
    with pytest.raises(ValueError, match="no norm 'layer'"):
        build("unet", channels=1, classes=2, norm="layer")
    with pytest.raises(ValueError, match="no attention 'self'"):
        build("unet", channels=1, classes=2, attention="self")
    with pytest.raises(ValueError, match="strides need 3 entries"):
        build("residual_unet", channels=1, classes=2, filters=(4, 6, 8), strides=(1, 2))
    with pytest.raises(ValueError, match="no backbone 'vgg'; choose of mobilenet_v2, plain"):
        build("fcn8", channels=1, classes=2, backbone="vgg")


def test_a_fixed_size_is_kept_and_dropout_is_there(tmp_path):
    model = build("unet", channels=1, classes=2, filters=(4, 6), size=(7, 10), dropout=0.5)
    assert (model.input_shape, model.output_shape) == ((None, 7, 10, 1), (None, 7, 10, 2))
    x = noise(1, 7, 10, 1)
    assert not np.array_equal(np.asarray(model(x, training=True)), run(model, x))
    model.save(tmp_path / "m.keras")
    config = json.dumps(load_keras_file(tmp_path / "m.keras").get_config())
    assert "Lambda" not in config
