"""Losses against arithmetic on a few pixels."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, special
from sklearn.metrics import log_loss

from segmodels.losses import (
    BinaryCrossEntropy,
    Boundary,
    DeepSupervision,
    DiceCrossEntropy,
    Focal,
    GeneralisedDice,
    LovaszSoftmax,
    SoftDice,
    SparseCrossEntropy,
    Tversky,
    WeightedSum,
    list_losses,
    make_loss,
)

LOGITS = np.log(
    np.array([[[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.5, 0.25, 0.25]]], np.float32)
)
LABELS = np.array([[0, 1, 2, -1]], np.int16)


def value(loss, labels=LABELS, logits=LOGITS) -> float:  # type: ignore[no-untyped-def]
    return float(loss(labels, logits))


def test_cross_entropy_is_the_mean_over_counted_pixels() -> None:
    assert value(SparseCrossEntropy()) == pytest.approx(-(np.log(0.7) + 2 * np.log(0.6)) / 3, rel=1e-5)


def test_cross_entropy_does_not_change_when_ignored_pixels_do() -> None:
    other = LOGITS.copy()
    other[0, 3] = [50, -50, 0]
    assert value(SparseCrossEntropy(), logits=other) == value(SparseCrossEntropy())


def test_class_weights_weigh_pixels_and_their_sum_divides() -> None:
    expected = -(1 * np.log(0.7) + 2 * np.log(0.6) + 5 * np.log(0.6)) / 8
    assert value(SparseCrossEntropy(class_weights=(1, 2, 5))) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_holds_for_huge_logits() -> None:
    logits = np.array([[[1000.0, 0.0, -1000.0]]], np.float32)
    assert value(SparseCrossEntropy(), np.array([[1]]), logits) == pytest.approx(1000.0)


def test_everything_ignored_costs_nothing() -> None:
    labels = np.full_like(LABELS, -1)
    assert value(SparseCrossEntropy(), labels) == 0
    assert value(SoftDice(), labels) == 0


def test_dice_by_hand() -> None:
    # sums of p over the three counted pixels are 1.0, 1.0, 1.0; hits 0.7, 0.6, 0.6
    expected = 1 - np.mean([2 * 0.7 / 2, 2 * 0.6 / 2, 2 * 0.6 / 2])
    assert value(SoftDice()) == pytest.approx(expected, rel=1e-5)


def test_dice_leaves_out_absent_and_skipped_classes() -> None:
    labels = np.array([[0, 1, 1, -1]], np.int16)
    zero, one = 2 * 0.7 / (1.0 + 1), 2 * (0.6 + 0.2) / (1.0 + 2)
    assert value(SoftDice(), labels) == pytest.approx(1 - (zero + one) / 2, rel=1e-5)
    assert value(SoftDice(skip=(0,)), labels) == pytest.approx(1 - one, rel=1e-5)


def test_dice_sums_over_the_batch_not_per_image() -> None:
    once = value(SoftDice())
    twice = value(SoftDice(), np.concatenate([LABELS, LABELS]), np.concatenate([LOGITS, LOGITS]))
    assert twice == pytest.approx(once, rel=1e-5)


def test_dice_cross_entropy_is_their_sum() -> None:
    both = DiceCrossEntropy(class_weights=(1, 2, 3), skip=(0,), dice_weight=0.5)
    expected = value(SparseCrossEntropy(class_weights=(1, 2, 3))) + 0.5 * value(SoftDice(skip=(0,)))
    assert value(both) == pytest.approx(expected, rel=1e-6)


def test_labels_may_have_a_last_axis_of_one() -> None:
    assert value(SparseCrossEntropy(), LABELS[..., None]) == value(SparseCrossEntropy())


def random_case(shape=(2, 7, 9), classes=3, *, ignored=0.2, seed=0):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, shape).astype(np.int16)
    labels[rng.random(shape) < ignored] = -1
    return labels, (3 * rng.normal(size=(*shape, classes))).astype(np.float32)


def test_cross_entropy_equals_scikit_learns() -> None:
    labels, logits = random_case()
    counted = labels >= 0
    p = special.softmax(logits[counted].astype(np.float64), axis=-1)
    weights = np.array([1.0, 2.0, 0.5])
    for given, per_pixel in ((None, None), (tuple(weights), weights[labels[counted]])):
        expected = log_loss(labels[counted], p, sample_weight=per_pixel, labels=[0, 1, 2])
        assert value(SparseCrossEntropy(class_weights=given), labels, logits) == pytest.approx(
            expected, abs=1e-5
        )


def test_the_ignore_label_can_be_another() -> None:
    labels, logits = random_case()
    other = np.where(labels < 0, 255, labels)
    for name in list_losses():
        if name != "binary_cross_entropy":
            assert value(make_loss(name, ignore=255), other, logits) == value(make_loss(name), labels, logits)


def test_binary_cross_entropy_equals_scikit_learns_and_the_two_class_form() -> None:
    labels, _ = random_case(classes=2)
    logits = np.random.default_rng(1).normal(size=(*labels.shape, 1)).astype(np.float32) * 4
    counted = labels >= 0
    p = special.expit(logits[counted][:, 0].astype(np.float64))
    plain = log_loss(labels[counted], p)
    assert value(BinaryCrossEntropy(), labels, logits) == pytest.approx(plain, abs=1e-5)
    assert value(SparseCrossEntropy(), labels, logits) == pytest.approx(plain, abs=1e-5)
    heavy = log_loss(labels[counted], p, sample_weight=np.where(labels[counted] == 1, 3.0, 1.0))
    assert value(BinaryCrossEntropy(positive_weight=3), labels, logits) == pytest.approx(heavy, abs=1e-5)


def test_binary_cross_entropy_takes_one_question_per_channel() -> None:
    labels = np.array([[[1, 0], [0, -1]]], np.int16)
    logits = np.array([[[2.0, -1.0], [0.5, 9.0]]], np.float32)
    expected = np.mean([np.log1p(np.exp(-2.0)), np.log1p(np.exp(-1.0)), np.log1p(np.exp(0.5))])
    assert value(BinaryCrossEntropy(), labels, logits) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="as many channels"):
        value(BinaryCrossEntropy(), labels[..., 0], logits)


def test_generalised_dice_by_hand() -> None:
    # true pixels 1, 2, 0; sums of p over three pixels 1.0, 1.0, 1.0; the absent class has no weight
    labels = np.array([[0, 1, 1, -1]], np.int16)
    w0, w1 = 1.0, 1 / 4
    expected = 1 - 2 * (w0 * 0.7 + w1 * (0.6 + 0.2)) / (w0 * (1 + 1) + w1 * (1 + 2))
    assert value(GeneralisedDice(), labels) == pytest.approx(expected, abs=1e-6)
    assert value(GeneralisedDice(), np.full_like(labels, -1)) == 0


def test_focal_by_hand_and_at_gamma_zero() -> None:
    labels, logits = random_case()
    p = special.softmax(logits[labels >= 0].astype(np.float64), axis=-1)
    p = np.take_along_axis(p, labels[labels >= 0][:, None].astype(int), axis=-1)[:, 0]
    alpha = np.array([0.2, 0.5, 1.0])
    expected = np.mean(-alpha[labels[labels >= 0]] * (1 - p) ** 1.5 * np.log(p))
    assert value(Focal(gamma=1.5, alpha=tuple(alpha)), labels, logits) == pytest.approx(expected, abs=1e-5)
    assert value(Focal(gamma=0), labels, logits) == pytest.approx(
        value(SparseCrossEntropy(), labels, logits), abs=1e-5
    )


def test_tversky_by_hand_and_as_dice() -> None:
    index = [0.7 / (0.7 + 0.3 * 0.3 + 0.7 * 0.3)] + [0.6 / (0.6 + 0.3 * 0.4 + 0.7 * 0.4)] * 2
    assert value(Tversky()) == pytest.approx(1 - np.mean(index), abs=1e-6)
    labels, logits = random_case()
    assert value(Tversky(alpha=0.5, beta=0.5), labels, logits) == pytest.approx(
        value(SoftDice(), labels, logits), abs=1e-6
    )


def jaccard_extension(errors: np.ndarray, mine: np.ndarray) -> float:
    """The Lovász extension by its definition: errors in falling order times what each adds to 1 - IoU."""
    total, before, wrong = 0.0, 0.0, np.zeros(len(errors), bool)
    for i in np.argsort(-errors, kind="stable"):
        wrong[i] = True
        predicted = mine ^ wrong
        now = 1 - (predicted & mine).sum() / max((predicted | mine).sum(), 1)
        total += errors[i] * (now - before)
        before = now
    return float(total)


def test_lovasz_equals_its_definition() -> None:
    labels, logits = random_case()
    counted = labels >= 0
    p = special.softmax(logits[counted].astype(np.float64), axis=-1)
    truth = labels[counted][:, None] == np.arange(3)
    expected = np.mean([jaccard_extension(np.abs(truth[:, c] - p[:, c]), truth[:, c]) for c in range(3)])
    assert value(LovaszSoftmax(), labels, logits) == pytest.approx(expected, abs=1e-5)


def test_lovasz_of_a_hard_prediction_is_one_minus_the_iou() -> None:
    labels = np.array([[0, 0, 0, 1, 1, 1, 1, 1]], np.int16)
    seen = np.array([[0, 0, 1, 1, 1, 1, 0, 0]])
    logits = np.float32(60) * np.eye(2, dtype=np.float32)[seen]
    assert value(LovaszSoftmax(), labels, logits) == pytest.approx(1 - (2 / 5 + 3 / 6) / 2, abs=1e-6)


@pytest.mark.parametrize("spacing", [None, (1.0, 2.5)])
def test_boundary_uses_scipys_distances(spacing) -> None:  # type: ignore[no-untyped-def]
    labels, logits = random_case((2, 16, 13), ignored=0.05)
    labels[0][labels[0] == 2] = 1  # a class that one item lacks
    p = special.softmax(logits.astype(np.float64), axis=-1)
    total, unit = 0.0, min(spacing or (1.0,))
    for b in range(2):
        for c in (1, 2):
            inside = labels[b] == c
            if not inside.any():
                continue
            far = ndimage.distance_transform_edt(~inside, sampling=spacing)
            near = ndimage.distance_transform_edt(inside, sampling=spacing)
            phi = np.where(inside, -(near - unit), far)
            total += (phi * p[b, ..., c])[labels[b] >= 0].sum()
    loss = Boundary(spacing=spacing)
    assert value(loss, labels, logits) == pytest.approx(total / (2 * (labels >= 0).sum()), abs=1e-5)


def test_boundary_knows_three_axes_and_full_items() -> None:
    labels = np.zeros((1, 5, 6, 7), np.int16)
    labels[0, 1:4, 2:5, 1:6] = 1
    inside = labels[0] == 1
    edt = ndimage.distance_transform_edt
    phi = np.where(inside, -(edt(inside) - 1), edt(~inside))
    logits = np.zeros((1, 5, 6, 7, 2), np.float32)
    assert value(Boundary(), labels, logits) == pytest.approx(0.5 * phi.mean(), abs=1e-5)
    assert value(Boundary(), np.ones_like(labels), logits) == 0


def test_deep_supervision_halves_weights_and_never_mixes_labels() -> None:
    labels, fine = random_case((1, 8, 8))
    coarse = random_case((1, 4, 4), seed=3)[1]
    # the middle of a coarse pixel that covers two lies on the second of them
    parts = [value(SoftDice(), labels, fine), value(SoftDice(), labels[:, 1::2, 1::2], coarse)]
    loss = DeepSupervision(SoftDice())
    assert float(loss(labels, [fine, coarse])) == pytest.approx((parts[0] + 0.5 * parts[1]) / 1.5, abs=1e-6)
    assert float(loss(labels, fine)) == pytest.approx(parts[0], abs=1e-6)
    with pytest.raises(ValueError, match="as many weights"):
        DeepSupervision(SoftDice(), weights=(1.0,))(labels, [fine, coarse])


def test_bfloat16_logits_are_computed_in_float32() -> None:
    from keras import ops

    labels, logits = random_case()
    rounded = ops.cast(logits, "bfloat16")
    exact = np.asarray(ops.convert_to_numpy(ops.cast(rounded, "float32")))
    for name in list_losses():
        if name != "binary_cross_entropy":
            assert float(make_loss(name)(labels, rounded)) == value(make_loss(name), labels, exact)


def test_unknown_losses_and_options_are_named() -> None:
    with pytest.raises(ValueError, match="there is no loss 'lovas'"):
        make_loss("lovas")
    with pytest.raises(ValueError, match="no option 'gama'"):
        make_loss("focal", gama=1)
    with pytest.raises(ValueError, match="as many weights"):
        WeightedSum([SoftDice()], weights=(1, 2))


ALL = [
    SparseCrossEntropy(class_weights=(1, 2, 3)),
    SoftDice(skip=(1,)),
    DiceCrossEntropy(),
    GeneralisedDice(),
    Focal(gamma=1.0, alpha=(1, 2, 3)),
    Tversky(alpha=0.2, beta=0.8),
    LovaszSoftmax(skip=(0,)),
    Boundary(spacing=(1.0, 2.0)),
    WeightedSum([SoftDice(), Boundary()], weights=(1, 0.01)),
    DeepSupervision(Focal()),
]


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)
def test_losses_come_back_from_their_configuration(loss) -> None:  # type: ignore[no-untyped-def]
    labels, logits = random_case()
    assert value(type(loss).from_config(loss.get_config()), labels, logits) == value(loss, labels, logits)


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)
def test_a_step_downhill_lowers_each_loss(loss) -> None:  # type: ignore[no-untyped-def]
    import tensorflow as tf

    labels, logits = random_case((2, 6, 6))
    z = tf.Variable(logits)
    with tf.GradientTape() as tape:
        before = loss(labels, z)
    gradient = tape.gradient(before, z).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient[labels < 0] == 0).all()
    assert value(loss, labels, logits - 0.05 * gradient / np.abs(gradient).max()) < float(before)


def test_jax_gives_the_same_numbers() -> None:
    pytest.importorskip("jax")
    labels, logits = random_case()
    expected = [
        value(make_loss(name), labels, logits) for name in list_losses() if not name.startswith("binary")
    ]
    program = (
        "import numpy as np\n"
        "from tests.segmodels.test_losses import random_case, make_loss, list_losses\n"
        "import jax, keras; assert keras.backend.backend() == 'jax'\n"
        "labels, logits = random_case()\n"
        "losses = [make_loss(n) for n in list_losses() if not n.startswith('binary')]\n"
        "together = jax.jit(lambda x: [loss(labels, x) for loss in losses])  # op by op each is compiled alone\n"
        "print(*map(float, together(logits)))\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    np.testing.assert_allclose([float(v) for v in ran.stdout.split()], expected, atol=1e-5)
