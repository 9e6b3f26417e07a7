"""NetCDF and HDF5: the raster that is named, and no other file of the machine."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import netcdf_file

from tasks.errors import InputError
from tasks.imagery.open import open_image
from tasks.imagery.wanted import Reading, Wanted

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def hdf5(path: Path, names: list[str]) -> Path:
    with h5py.File(path, "w") as f:
        for i, name in enumerate(names):
            f.create_dataset(name, data=np.arange(600, dtype="int16").reshape(20, 30) + i)
    return path


def netcdf(path: Path, names: list[str]) -> Path:
    with netcdf_file(path, "w") as f:
        f.createDimension("lat", 4)
        f.createDimension("lon", 6)
        for axis, values in {"lat": 50 - np.arange(4), "lon": 8 + np.arange(6)}.items():
            variable = f.createVariable(axis, "f8", (axis,))
            variable[:] = values
            variable.units = "degrees_north" if axis == "lat" else "degrees_east"
        for i, name in enumerate(names):
            f.createVariable(name, "i2", ("lat", "lon"))[:] = np.arange(24).reshape(4, 6) + i
    return path


def by(layer: str) -> Wanted:
    return Wanted(reading=Reading(layer=layer))


def test_the_named_raster_of_many(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "x.h5", [f"grids/b{i:02}" for i in range(40)])
    image = open_image(path, scratch=tmp_path, wanted=by("grids/b07"))
    pixels = image.read((slice(0, 20), slice(0, 30)))
    np.testing.assert_array_equal(pixels.values[..., 0], np.arange(600).reshape(20, 30) + 7)
    with pytest.raises(
        InputError, match=r"holds 40 rasters \(grids/b00, .* and 28 more\): name one with --layer"
    ):
        open_image(path, scratch=tmp_path)
    with pytest.raises(InputError, match="has no raster 'b07'"):
        open_image(path, scratch=tmp_path, wanted=by("b07"))


def test_one_raster_needs_no_name(tmp_path: Path) -> None:
    image = open_image(hdf5(tmp_path / "x.hdf5", ["only"]), scratch=tmp_path)
    assert image.info.format == "hdf5"
    assert image.read((slice(2, 3), slice(0, 30))).values[0, :, 0].tolist() == list(range(60, 90))


def test_netcdf_by_name_and_alone(tmp_path: Path) -> None:
    both = netcdf(tmp_path / "both.nc", ["rain", "snow"])
    image = open_image(both, scratch=tmp_path, wanted=by("snow"))
    np.testing.assert_array_equal(
        image.read((slice(0, 4), slice(0, 6))).values[..., 0], np.arange(24).reshape(4, 6) + 1
    )
    assert image.info.grid["transform"] == (1, 0, 7.5, 0, -1, 50.5)
    with pytest.raises(InputError, match=r"2 rasters \(rain, snow\)"):
        open_image(both, scratch=tmp_path)
    one = open_image(netcdf(tmp_path / "one.nc", ["rain"]), scratch=tmp_path)
    assert one.info.shape == (4, 6)


def test_values_in_another_file_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(600))
    with h5py.File(tmp_path / "external.h5", "w") as f:
        f.create_dataset("a", (20, 30), "u1", external=[(str(secret), 0, 600)])
    with h5py.File(tmp_path / "linked.h5", "w") as f:
        f["g/a"] = h5py.ExternalLink(str(secret), "/a")
    source = hdf5(tmp_path / "source.h5", ["a"])
    layout = h5py.VirtualLayout((20, 30), "i2")
    layout[:] = h5py.VirtualSource(source, "a", (20, 30))
    with h5py.File(tmp_path / "virtual.h5", "w") as f:
        f.create_virtual_dataset("a", layout)
    for name in ("external", "linked", "virtual"):
        with pytest.raises(InputError, match="in another file"):
            open_image(tmp_path / f"{name}.h5", scratch=tmp_path, wanted=by("a"))


def test_groups_that_hold_themselves_end(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "x.h5", ["g/a"])
    with h5py.File(path, "a") as f:
        f["g/again"] = f["g"]
    assert open_image(path, scratch=tmp_path, wanted=by("g/a")).info.shape == (20, 30)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "x.h5", ["a"])
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        open_image(path, scratch=tmp_path)
