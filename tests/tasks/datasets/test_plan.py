"""Fingerprints by arithmetic, plans that are sensible for the four kinds of data, and the real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from segmodels.bundles.card import NormaliseWindow
from segmodels.normalise import Normaliser, make_normaliser
from tasks.datasets.fingerprint import ChannelPrint, Fingerprint, Intensities, take_fingerprint
from tasks.datasets.open import open_dataset
from tasks.datasets.plan import TrainingPlan, plan_training
from tasks.datasets.splits import Part, make_split
from tasks.datasets.topology import plan_topology
from tasks.errors import UsageError
from tests.tasks.datasets.conftest import save, write_json

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
GIB = 1 << 30


def channel(name: str = "x", **fields: Any) -> ChannelPrint:
    about = Intensities(count=1000, mean=50, std=20, p0_5=5, median=48, p99_5=120)
    return ChannelPrint(
        **{"name": name, "dtype": "uint8", "minimum": 0, "maximum": 255, "zeros": 0.0, "all": about,
           "foreground": about} | fields
    )  # fmt: skip


def fingerprint(shape: tuple[int, ...], **fields: Any) -> Fingerprint:
    base: dict[str, Any] = {
        "modality": "picture", "ndim": len(shape), "items": 20, "pixels": 20 * int(np.prod(shape)),
        "median_shape": shape, "smallest_shape": shape, "largest_shape": shape, "spacing": None,
        "finest_tenth": None, "spacing_varies": False, "channels": (channel(),), "classes": ("rest", "thing"),
        "shares": (0.8, 0.2),
    }  # fmt: skip
    return Fingerprint(**base | fields)


NAIP = fingerprint(
    (9000, 11000), modality="earth", items=3, spacing=(0.6, 0.6), finest_tenth=(0.6, 0.6),
    channels=tuple(channel(n) for n in ("red", "green", "blue", "nir")), classes=("land", "water"), shares=(0.97, 0.03),
)  # fmt: skip
HU = Intensities(count=1000, mean=44.0, std=60.0, p0_5=-120.0, median=45.0, p99_5=210.0)
THICK_CT = fingerprint(
    (60, 512, 512), modality="ct", spacing=(5.0, 0.78, 0.78), finest_tenth=(2.5, 0.7, 0.7), spacing_varies=True,
    channels=(channel("CT", dtype="int16", minimum=-1024, maximum=3071, foreground=HU),), shares=(0.98, 0.02),
)  # fmt: skip
CUBIC_MR = fingerprint(
    (182, 218, 182), modality="volume", spacing=(1.0, 1.0, 1.0), finest_tenth=(1.0, 1.0, 1.0),
    channels=(channel("T1", dtype="int16", zeros=0.6), channel("T2", dtype="int16", minimum=-3, zeros=0.6)),
    classes=("rest", "grey", "white"), shares=(0.7, 0.2, 0.1),
)  # fmt: skip
MICROSCOPY = fingerprint(
    (256, 256), items=200, channels=(channel(varies=0.5),) * 3, classes=("background", "nucleus", "border"),
    shares=(0.89, 0.083, 0.027),
)  # fmt: skip
ALL = {"naip": NAIP, "thick ct": THICK_CT, "cubic mr": CUBIC_MR, "microscopy": MICROSCOPY}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("memory", [2 * GIB, 4 * GIB, 24 * GIB])
def test_every_plan_keeps_the_rules(name: str, memory: int) -> None:
    f = ALL[name]
    plan = plan_training(f, memory_bytes=memory)
    assert plan.memory_bytes <= memory
    assert plan.ndim == len(plan.patch) == f.ndim
    assert len(plan.normalise) in (1, len(f.channels))
    assert len(plan.class_weights) == len(f.classes)
    assert np.mean(plan.class_weights) == pytest.approx(1, abs=0.01)
    rarest = int(np.argmin(f.shares))
    assert plan.class_weights[rarest] == max(plan.class_weights)
    steps = plan.options.get("strides") or [
        [1] * f.ndim,
        *[[2] * f.ndim] * (len(plan.options["filters"]) - 1),
    ]
    total = np.prod(steps, axis=0)
    assert all(p % t == 0 and p // t >= 4 for p, t in zip(plan.patch, total, strict=True))
    assert set(plan.reasons) >= {"patch", "batch", "normalise", "architecture", "loss", "steps", "spacing"}
    assert TrainingPlan.model_validate(yaml.safe_load(plan.to_yaml())) == plan


@pytest.mark.parametrize("name", ALL)
def test_more_memory_never_gives_less(name: str) -> None:
    small, large = (plan_training(ALL[name], memory_bytes=n * GIB) for n in (2, 24))
    assert large.batch * np.prod(large.patch) >= small.batch * np.prod(small.patch)
    assert large.options["filters"][0] >= small.options["filters"][0]


def test_naip() -> None:
    plan = plan_training(NAIP, memory_bytes=8 * GIB)
    assert plan.architecture == "unet"
    assert plan.patch[0] == plan.patch[1] >= 256
    assert plan.spacing == (0.6, 0.6)
    assert [n.kind for n in plan.normalise] == ["scale"] * 4
    assert "quarter_turns" in [step["kind"] for step in plan.augment]
    assert plan.loss == "dice_cross_entropy"


def test_reflectance_gets_a_fixed_window() -> None:
    bands = tuple(channel(n, dtype="uint16", maximum=12000) for n in ("B2", "B3"))
    plan = plan_training(NAIP.model_copy(update={"channels": bands}), memory_bytes=8 * GIB)
    assert plan.normalise[0] == NormaliseWindow(low=5, high=120)


def test_thick_slices_are_left_alone_until_voxels_are_cubes() -> None:
    plan = plan_training(THICK_CT, memory_bytes=12 * GIB)
    assert plan.architecture == "residual_unet"
    # the thick axis goes to its finest tenth, the others to their median
    assert plan.spacing == (2.5, 0.78, 0.78)
    kernels, strides = plan.options["kernels"], plan.options["strides"]
    assert kernels[0] == [1, 3, 3]
    assert strides[:2] == [[1, 1, 1], [1, 2, 2]]
    # 2.5 and 1.56 mm are within a factor of two: from here on all axes
    assert kernels[1] == [3, 3, 3]
    assert strides[2] == [2, 2, 2]
    (window,) = plan.normalise
    assert window == NormaliseWindow(low=-120, high=210, offset=44, divisor=60)
    assert plan.patch[0] < plan.patch[1]
    assert next(step for step in plan.augment if step["kind"] == "affine")["plane"] == [1, 2]


def test_the_median_image_is_measured_in_mm() -> None:
    # half of the scans have 5 mm slices, half 1 mm; all are 200 mm long
    f = THICK_CT.model_copy(
        update={"median_shape": (120, 256, 256), "spacing": (3.0, 1.0, 1.0), "extent": (200.0, 256.0, 256.0)}
    )
    plan = plan_training(f, memory_bytes=500 * GIB)
    assert plan.spacing == (3.0, 1.0, 1.0)
    assert plan.reasons["patch"].startswith("The median image is 67 × 256 × 256 pixels")


def test_precision_is_what_the_machine_does_well() -> None:
    plans = {b: plan_training(MICROSCOPY, memory_bytes=6 * GIB, bfloat16=b) for b in (False, True)}
    assert {b: p.precision for b, p in plans.items()} == {False: "float32", True: "mixed_bfloat16"}


def test_cubic_mr() -> None:
    plan = plan_training(CUBIC_MR, memory_bytes=12 * GIB)
    assert plan.architecture == "residual_unet"
    assert all(len(set(s)) == 1 for s in plan.options["strides"][:4])
    assert [n.kind for n in plan.normalise] == ["zscore", "zscore"]
    # zero is "outside the head" only where nothing lies below it
    assert [n.foreground_above for n in plan.normalise] == [0.0, None]  # type: ignore[union-attr]
    assert max(plan.patch) - min(plan.patch) <= 32


def test_microscopy_of_uneven_brightness() -> None:
    plan = plan_training(MICROSCOPY, memory_bytes=6 * GIB)
    assert (plan.architecture, plan.patch) == ("unet", (256, 256))
    assert {n.kind for n in plan.normalise} == {"percentile"}
    even = MICROSCOPY.model_copy(update={"channels": (channel(),) * 3})
    assert [n.kind for n in plan_training(even, memory_bytes=6 * GIB).normalise] == ["scale"]


def test_too_little_memory_says_what_is_needed() -> None:
    with pytest.raises(UsageError, match=r"the smallest needs .* GiB"):
        plan_training(CUBIC_MR, memory_bytes=GIB // 2)


@pytest.mark.parametrize(
    ("patch", "spacing", "strides"),
    [
        ((32, 32), None, [(1, 1), (2, 2), (2, 2), (2, 2)]),
        ((64, 8), None, [(1, 1), (2, 2), (2, 1), (2, 1), (2, 1)]),
        ((16, 64, 64), (4.0, 1.0, 1.0), [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2)]),
        ((3, 3), None, [(1, 1)]),
    ],
)
def test_topology_by_hand(patch: tuple, spacing: tuple | None, strides: list) -> None:
    assert list(plan_topology(patch, spacing).strides) == strides


def test_fingerprint_counts_what_is_there(make_pairs: Callable[..., Path]) -> None:
    root = make_pairs(5, classes=["a", "b", "c"])
    dataset = open_dataset(root)
    f = take_fingerprint(dataset, [Part(i) for i in dataset.items[:4]], scratch=root)
    images = np.concatenate([np.asarray(Image.open(root / f"images/p{i}.png")).ravel() for i in range(4)])
    masks = np.concatenate([np.asarray(Image.open(root / f"masks/p{i}.png")).ravel() for i in range(4)])
    (c,) = f.channels
    assert (f.items, f.pixels, f.median_shape, f.modality) == (4, 2400, (20, 30), "picture")
    assert (c.all.mean, c.all.std) == (pytest.approx(images.mean()), pytest.approx(images.std()))
    assert c.foreground.count == (masks > 0).sum()
    assert c.foreground.median == np.percentile(images[masks > 0], 50, method="inverted_cdf")
    assert c.all.p99_5 == np.percentile(images, 99.5, method="inverted_cdf")
    assert f.shares == pytest.approx([(masks == k).mean() for k in range(3)])


def test_shares_are_of_volumes_and_the_extent_is_in_mm(tmp_path: Path) -> None:
    # both 12 mm long, in slices of 1 and of 3 mm: half of one is organ, all of the other
    for name, size, organ in (("a", 12, 6), ("b", 4, 4)):
        affine = np.diag([1.0, 1.0, 12 / size, 1.0])
        truth = np.zeros((10, 10, size), np.uint8)
        truth[..., :organ] = 1
        save(tmp_path / f"imagesTr/{name}_0000.nii.gz", np.ones((10, 10, size), np.int16), affine=affine)
        save(tmp_path / f"labelsTr/{name}.nii.gz", truth, affine=affine)
    write_json(
        tmp_path / "dataset.json",
        {"channel_names": {"0": "MR"}, "labels": {"rest": 0, "organ": 1}, "file_ending": ".nii.gz"},
    )
    dataset = open_dataset(tmp_path)
    f = take_fingerprint(dataset, [Part(i) for i in dataset.items], scratch=tmp_path / "scratch")
    assert (f.extent, f.spacing, f.spacing_varies) == ((12, 10, 10), (2, 1, 1), True)
    assert f.shares == pytest.approx((0.25, 0.75))


def test_fingerprint_of_much_reads_a_part(tmp_path: Path, rng: np.random.Generator) -> None:
    save(tmp_path / "images/a.tif", rng.integers(0, 9, (3000, 3000)).astype(np.uint16))
    save(tmp_path / "masks/a.tif", rng.integers(0, 2, (3000, 3000)).astype(np.uint8))
    dataset = open_dataset(tmp_path)
    f = take_fingerprint(dataset, [Part(dataset.items[0])], scratch=tmp_path, most_pixels=4_000_000)
    assert 0.2 < f.seen < 0.7
    assert f.pixels == 9_000_000
    assert f.modality == "earth"


class _NoStatistics:
    def mean_std(self, *, above: float | None = None) -> tuple[float, float]:
        raise AssertionError

    def percentile(self, q: float, *, above: float | None = None) -> float:
        raise AssertionError


def test_a_window_with_mean_and_deviation(make_card: Callable[..., Any]) -> None:
    card = make_card(2, normalise=(NormaliseWindow(low=-100, high=200, offset=50, divisor=25),))
    normaliser = make_normaliser(card, [_NoStatistics()])
    assert isinstance(normaliser, Normaliser)
    values = np.array([[[-1000.0], [50.0], [75.0], [9000.0]]], np.float32)
    np.testing.assert_allclose(normaliser(values).ravel(), [-6, 0, 1, 6])


def test_real_nuclei(shared_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(shared_data / "nuclei")
    parts = make_split(dataset)["train"][::5]
    f = take_fingerprint(dataset, parts, scratch=tmp_path)
    assert (f.modality, f.median_shape) == ("picture", (256, 256))
    plan = plan_training(f, memory_bytes=4 * GIB)
    assert (plan.architecture, plan.patch, plan.loss) == ("unet", (256, 256), "dice_cross_entropy")
    assert {n.kind for n in plan.normalise} == {"percentile"}


def test_real_ct(shared_data: Path, tmp_path: Path) -> None:
    for name, target in (("example_ct", "imagesTr/ct_0000"), ("example_seg_fast_force_split", "labelsTr/ct")):
        (tmp_path / target).parent.mkdir()
        (tmp_path / f"{target}.nii.gz").symlink_to(shared_data / "ct-organs" / f"{name}.nii.gz")
    labels = {"background": 0} | {f"v{i}": i for i in range(1, 118)}
    value = {"channel_names": {"0": "image"}, "labels": labels, "file_ending": ".nii.gz"}
    write_json(tmp_path / "dataset.json", value)
    dataset = open_dataset(tmp_path)
    split = make_split(dataset, val=0.25, shape=(112, 101, 122))
    f = take_fingerprint(dataset, split["train"], scratch=tmp_path / "scratch")
    assert f.modality == "ct", "by its Hounsfield units alone"
    assert f.spacing == pytest.approx((3, 3, 3))
    plan = plan_training(f, memory_bytes=8 * GIB)
    assert plan.spacing == (3, 3, 3)
    (window,) = plan.normalise
    assert isinstance(window, NormaliseWindow)
    assert -1100 < window.low < window.high < 2000
