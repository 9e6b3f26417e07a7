"""What makes a U-Net one, in two and three dimensions."""

import numpy as np
import pytest

from segmodels.architectures.unet import stride_of, unet
from segmodels.registry import build, list_models


@pytest.mark.parametrize(
    ("ndims", "filters", "size"),
    [(2, (4, 6), (2, 6)), (2, (4, 6, 8, 8), (24, 8)), (3, (4, 6, 8), (4, 12, 8)), (3, (3, 4), (2, 2, 6))],
)
def test_output_has_the_inputs_shape_for_multiples_of_the_stride(ndims, filters, size) -> None:  # type: ignore[no-untyped-def]
    assert all(s % stride_of(filters) == 0 for s in size)
    model = unet(channels=2, classes=3, ndim=ndims, filters=filters)
    assert model.input_shape == (None, *[None] * ndims, 2)
    y = np.asarray(model(np.ones((2, *size, 2), np.float32), training=False))
    assert y.shape == (2, *size, 3)
    assert y.dtype == np.float32


def test_four_levels_and_a_bottleneck_with_two_convolutions_each() -> None:
    model = unet(channels=3, classes=2, filters=(2, 4, 6, 8, 10))
    names = [layer.name for layer in model.layers]
    for stage in ("bottleneck", *(f"down{i}" for i in range(4)), *(f"decode{i}" for i in range(4))):
        assert [n for n in names if n.startswith(f"{stage}_conv")] == [f"{stage}_conv1", f"{stage}_conv2"]
    assert model.get_layer("bottleneck_conv2").filters == 10
    deepest = unet(channels=3, classes=2, filters=(2, 4, 6, 8, 10), size=(32, 48)).get_layer(
        "bottleneck_conv1"
    )
    assert deepest.output.shape[1:3] == (2, 3)


def test_skips_are_taken_before_pooling() -> None:
    model = unet(channels=1, classes=2, filters=(2, 4, 6), size=(16, 16))
    for i, side in enumerate((16, 8)):
        skip, up = model.get_layer(f"skip{i}").input
        assert skip.shape[1:3] == up.shape[1:3] == (side, side)
        pooled = model.get_layer(f"pool{i}").input
        assert skip is pooled, "what is pooled and what is skipped must be the same tensor"


def test_the_head_gives_logits_that_are_neither_bounded_nor_normalised() -> None:
    model = unet(channels=1, classes=3, filters=(4, 8))
    assert model.get_layer("logits").activation.__name__ == "linear"


def test_batch_norm_statistics_arrive_in_a_short_training() -> None:
    model = unet(channels=1, classes=2, filters=(4, 8))
    assert model.get_layer("down0_norm1").momentum == 0.9


@pytest.mark.parametrize("norm", ["group", "none"])
def test_other_norms_hold_no_running_statistics(norm) -> None:  # type: ignore[no-untyped-def]
    model = unet(channels=1, classes=2, filters=(6, 10), norm=norm)
    assert not model.non_trainable_variables


def test_far_pixels_reach_the_output_through_the_bottleneck() -> None:
    model = unet(channels=1, classes=1, filters=(4, 8, 8), norm="none")
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 1)).astype(np.float32)
    changed = x.copy()
    changed[0, 16, 28] += 10
    difference = np.abs(np.asarray(model(x)) - np.asarray(model(changed)))[0, 16, :, 0]
    # convolutions at full size alone reach 4 pixels
    assert difference[20] > 0


@pytest.mark.parametrize("ndims", [2, 3])
def test_it_learns_four_tiny_samples_by_heart(ndims) -> None:  # type: ignore[no-untyped-def]
    import keras

    from segmodels.losses import DiceCrossEntropy

    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    shape = (4, *[8] * ndims)
    x = rng.normal(size=(*shape, 1)).astype(np.float32)
    y = (x[..., 0] > 0).astype(np.uint8)
    y[:, :4] = 2
    x[:, :4] -= 3
    model = unet(channels=1, classes=3, ndim=ndims, filters=(6, 8))
    model.compile(keras.optimizers.Adam(2e-2), DiceCrossEntropy())
    first = float(model.train_on_batch(x, y))
    for _ in range(80):
        last = float(model.train_on_batch(x, y))
    assert last < 0.2 * first
    right = np.asarray(model(x, training=False)).argmax(-1) == y
    assert right.mean() > 0.97


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValueError, match="bottleneck"):
        unet(channels=1, classes=2, filters=(8,))
    with pytest.raises(ValueError, match="should have 2 numbers above 0"):
        unet(channels=1, classes=2, filters=(4, 4, 4), size=(8, 0))
    with pytest.raises(ValueError, match="2 or 3"):
        unet(channels=1, classes=2, ndim=4)  # type: ignore[arg-type]


def test_registry() -> None:
    assert "unet" in list_models()
    assert build("unet", channels=1, classes=2, filters=(4, 8)).output_shape == (None, None, None, 2)
    with pytest.raises(ValueError, match="there are context_unet"):
        build("vnet", channels=1, classes=2)
