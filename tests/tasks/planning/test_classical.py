"""Every classical method through plan, blocks and stitch, against scikit-image and scikit-learn on the whole image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.feature import canny
from skimage.filters import apply_hysteresis_threshold, sobel, threshold_multiotsu, threshold_otsu
from skimage.segmentation import flood, morphological_chan_vese, random_walker, slic, watershed
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

from segmodels.bundles.bundle import Bundle, load_bundle
from segmodels.errors import BundleError
from segmodels.methods.make import make_classical
from segmodels.methods.names import CLASSICAL
from tasks.blocks.segment import segment_block
from tasks.blocks.session import engine_for
from tasks.errors import UsageError
from tasks.planning.fitting import FitError
from tasks.planning.make import make_plan
from tasks.planning.plan import Parameters
from tasks.planning.whole import Sampler, method_of
from tasks.stitching.stitch import Stitch

IMAGE_SCOPE = ("region-growing", "watershed", "canny", "slic", "chan-vese", "random-walker")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory):
    """Bundles made once, by name and number of channels."""
    made: dict[Any, Bundle] = {}

    def get(name: str, channels: int = 1, **options: Any) -> Bundle:
        key = (name, channels, tuple(options.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("bundles") / name
            made[key] = make_classical(
                name, folder, channels=[f"c{i}" for i in range(channels)], options=options
            )
        return made[key]

    return get


def planned(image, bundle, *, block=None, tile=None, memory=None, **parameters):
    return make_plan(
        image,
        item="x",
        image_digest="",
        bundle=bundle.path,
        bundle_digest=bundle.digest,
        card=bundle.card,
        parameters=Parameters(tile=tile, **parameters),
        block=block,
        memory=memory,
        engine="method",
        method=method_of(bundle),
    )


def predict(image, bundle, folder: Path, **options):
    plan = planned(image, bundle, **options)
    engine = engine_for(plan)
    folder.mkdir(parents=True)
    for number in range(plan.grid.block_count):
        outcome = segment_block(plan, number, image=image, engine=engine, directory=folder)
        assert not outcome.failures, outcome.failures
    out = np.zeros(image.info.shape, np.uint8)
    for band in Stitch(plan, folder, rows=7).bands():
        out[band.window] = band.codes
    return out


def scene(shape=(61, 83), channels=1, dtype=np.uint8):
    """Bright balls and a slope on noise."""
    rng = np.random.default_rng(0)
    grid = np.indices(shape).astype(float)
    out = rng.normal(60, 9, (*shape, channels))
    for middle, radius, level in ((0.35, 0.3, 120), (0.75, 0.2, 60)):
        squares = sum(((g - middle * n) / min(shape)) ** 2 for g, n in zip(grid, shape, strict=True))
        out += level * (squares < radius**2)[..., None] * np.linspace(1, 0.4, channels)
    return np.clip(out, 0, 255).astype(dtype)


def standardised(values):
    """As the pipeline normalises by z-score: float32."""
    v = values.astype(np.float32)
    return (v - np.float32(values.mean())) * np.float32(1 / values.std())


def seeds_of(values):
    """Markers between the thresholds of three classes, and those thresholds."""
    low, high = threshold_multiotsu(values, 3)
    return np.where(values > high, 2, np.where(values <= low, 1, 0)), low, high


def expected(name: str, values: np.ndarray) -> np.ndarray:
    z = standardised(values)
    markers, low, high = seeds_of(values)
    match name:
        case "otsu":
            return values > threshold_otsu(values)
        case "multi-otsu":
            return np.digitize(values, [low, high], right=True)
        case "sobel":
            return sobel(z) > 0.4
        case "canny":
            slices = z if z.ndim == 3 else z[None]
            return np.stack(
                [canny(s, sigma=1.5, low_threshold=0.3, high_threshold=0.8) for s in slices]
            ).reshape(z.shape)
        case "region-growing":
            return apply_hysteresis_threshold(values, low, high)
        case "watershed":
            return watershed(sobel(z), markers) == 2
        case "chan-vese":
            begin = (values > threshold_otsu(values)).astype(np.int8)
            return morphological_chan_vese(z, 36, init_level_set=begin, smoothing=1)
        case "random-walker":
            return random_walker(z.astype(float), markers, beta=130, mode="cg_j", prob_tol=np.inf) == 2
    raise AssertionError(name)


@pytest.mark.parametrize("shape", [(61, 83), (20, 24, 26)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("name", [n for n in CLASSICAL if n not in ("kmeans", "slic")])
def test_equals_scikit_image_on_the_whole_image_for_any_block(name, shape, array_image, bundles, tmp_path):
    values = scene(shape)
    wanted = expected(name, values[..., 0]).astype(np.uint8)
    assert 0.02 < (wanted > 0).mean() < 0.98
    tiled = {} if name in IMAGE_SCOPE else {"tile": (16,) * (2 if name == "canny" else len(shape))}
    for block in (16, 1000):
        found = predict(array_image(values), bundles(name), tmp_path / str(block), block=block, **tiled)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", ["kmeans", "slic"])
def test_clusters_are_those_of_scikit_learn(name, array_image, bundles, tmp_path):
    values = scene(channels=3)
    pixels = values.reshape(-1, 3).astype(float)
    scaler = StandardScaler().fit(pixels)
    solved = KMeans(4, n_init=4, random_state=0).fit(scaler.transform(pixels))
    rank = np.argsort(np.argsort(solved.cluster_centers_.sum(axis=1)))
    if name == "kmeans":
        wanted = rank[solved.labels_].reshape(values.shape[:2])
    else:
        z = scaler.transform(pixels).reshape(values.shape).astype(np.float32)
        raw = values.astype(np.float32)
        parts = slic(
            z, n_segments=61 * 83 // 400, compactness=0.1, channel_axis=-1, convert2lab=False, start_label=0
        )
        wanted = np.zeros(parts.shape, int)
        for part in np.unique(parts):
            mean = scaler.transform(raw[parts == part].mean(axis=0, keepdims=True, dtype=float))
            wanted[parts == part] = rank[solved.predict(mean)[0]]
    for block in (20, 1000):
        tile = {"tile": (16, 16)} if name == "kmeans" else {}
        found = predict(array_image(values), bundles(name, 3), tmp_path / f"{block}", block=block, **tile)
        np.testing.assert_array_equal(found, wanted)


def test_nodata_has_no_say_in_what_is_fitted(array_image, bundles, tmp_path):
    values = scene()
    valid = np.ones(values.shape[:2], bool)
    valid[:, :20] = False
    values[~valid] = 255
    image = array_image(values, valid=valid)
    wanted = np.where(valid, values[..., 0] > threshold_otsu(values[valid]), 255)
    np.testing.assert_array_equal(predict(image, bundles("otsu"), tmp_path / "o", tile=(16, 16)), wanted)
    part = values[valid].astype(float)
    solved = KMeans(4, n_init=4, random_state=0).fit(StandardScaler().fit_transform(part))
    rank = np.argsort(np.argsort(solved.cluster_centers_[:, 0]))
    found = predict(image, bundles("kmeans"), tmp_path / "k")
    np.testing.assert_array_equal(found[valid], rank[solved.labels_])


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_thresholds_of_other_types(dtype, array_image, bundles):
    values = (scene().astype(float) * 37.3 - (2000 if dtype == "float32" else 0)).astype(dtype)
    plan = planned(array_image(values), bundles("otsu"))
    wanted, width = threshold_otsu(values), float(np.ptp(values)) / 256
    assert plan.fitted.thresholds[0] == pytest.approx(wanted, abs=1.5 * width if dtype == "float32" else 0)
    both = planned(array_image(values), bundles("multi-otsu")).fitted.thresholds
    assert both == pytest.approx(threshold_multiotsu(values.astype(float), 3), abs=1.5 * width)


@pytest.mark.parametrize("name", CLASSICAL)
def test_an_image_of_one_value_is_no_error(name, array_image, bundles, tmp_path):
    found = predict(array_image(np.full((9, 11, 1), 7, np.uint8)), bundles(name), tmp_path / "x")
    assert len(np.unique(found)) == 1


def test_what_was_fitted_names_the_work_and_the_sample_is_bounded(array_image, bundles):
    plan = planned(array_image(scene()), bundles("otsu"))
    other = plan.model_copy(update={"fitted": plan.fitted.model_copy(update={"thresholds": (1.0,)})})
    assert plan.key() != other.key()
    image = array_image(scene((70, 90), channels=2))
    samples = []
    for windows in ([(0, 70)], [(40, 70), (0, 13), (13, 40)]):
        sampler = Sampler(image.info, size=500)
        for a, b in windows:
            window = (slice(a, b), slice(0, 90))
            sampler.add(window, image.values[window], image.valid[window])
        samples.append(sampler.sample())
    assert samples[0].shape == (500, 2)
    np.testing.assert_array_equal(*samples)
    assert np.abs(samples[0].mean(axis=0) - image.values.mean(axis=(0, 1))).max() < 6


def test_the_whole_image_is_one_tile_or_refused(array_image, bundles):
    plan = planned(array_image(scene()), bundles("watershed"), block=16)
    assert plan.grid.tile == (61, 83)
    assert plan.grid.tile_count == 1
    huge = array_image(np.broadcast_to(np.uint8(1), (15000, 15000, 1)))
    with pytest.raises(FitError, match=r"whole image at once.*tile by tile"):
        planned(huge, bundles("watershed"), memory=4 << 30)
    with pytest.raises(UsageError, match="--tile"):
        planned(array_image(scene()), bundles("watershed"), tile=(16, 16))


def test_seeds_of_ones_own(array_image, bundles, tmp_path):
    values = scene()
    bundle = bundles("region-growing", seeds=((18, 25),), tolerance=1.0)
    wanted = flood(standardised(values[..., 0]), (18, 25), tolerance=1.0)
    assert 50 < wanted.sum() < 3000
    np.testing.assert_array_equal(predict(array_image(values), bundle, tmp_path / "x"), wanted)


def test_a_method_of_one_channel_takes_the_one_named(array_image, bundles, tmp_path):
    values = scene(channels=3)
    values[..., 2] = values[::-1, :, 2]
    found = predict(array_image(values), bundles("otsu", 3, channel=2), tmp_path / "x")
    np.testing.assert_array_equal(found, values[..., 2] > threshold_otsu(values[..., 2]))


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("otsoo", {}, "did you mean otsu"),
        ("canny", {"sigm": 2}, "did you mean sigma"),
        ("canny", {"sigma": -1}, "sigma"),
        ("otsu", {"channel": 3}, "channel 3"),
    ],
)
def test_wrong_options_are_refused_by_name(name, options, says, tmp_path):
    with pytest.raises(BundleError, match=says):
        make_classical(name, tmp_path / "b", channels=["a"], options=options)
    assert not list(tmp_path.iterdir())


def test_a_name_alone_is_no_bundle():
    with pytest.raises(BundleError, match="segflow models make kmeans"):
        load_bundle("kmeans")
