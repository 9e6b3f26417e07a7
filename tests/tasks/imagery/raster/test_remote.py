"""Images at addresses: by ranges, known by version or ETag, with what the environment says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.transform import Affine

from tasks.errors import InputError
from tasks.files import file_digest
from tasks.imagery.open import open_image
from tasks.imagery.raster.remote import gdal_name
from tasks.publishing.digests import identity_of, input_digest
from tests.object_store import Store

BLOCK = 256
#: GDAL asks for more than one header at a time.
HEADER = 64 << 10


def cog(path: Path, *, size: int = 1500, seed: int = 0) -> Path:
    values = np.random.default_rng(seed).integers(1, 255, (3, size, size), "uint8")
    flat = path.with_name("flat.tif")
    profile = {"crs": "EPSG:32632", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(
        flat, "w", driver="GTiff", count=3, height=size, width=size, dtype="uint8", **profile
    ) as f:
        f.write(values)
    rasterio.shutil.copy(flat, path, driver="COG", blocksize=BLOCK, compress="DEFLATE", level="1")
    flat.unlink()
    return path


def stored_bytes(path: Path, window: tuple[slice, slice]) -> int:
    """Bytes of the storage blocks that a window touches, as GDAL lists them."""
    rows, columns = ({i // BLOCK for i in range(w.start, w.stop)} for w in window)
    with rasterio.open(path) as f:
        sizes = [f.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1) for y in rows for x in columns]
    return sum(int(s) for s in sizes)


def test_ranges_alone_are_fetched(tmp_path: Path, store: Store) -> None:
    path = cog(tmp_path / "x.tif")
    address = store.put("scenes/x.tif", path)
    image = open_image(address, scratch=tmp_path)
    assert (image.info.shape, image.info.format) == ((1500, 1500), "geotiff")
    assert store.bytes <= HEADER
    for window in [(slice(300, 900), slice(10, 1200)), (slice(1000, 1001), slice(1400, 1500))]:
        before = store.bytes
        with rasterio.open(path) as f:
            expected = f.read(window=tuple((w.start, w.stop) for w in window))
        np.testing.assert_array_equal(image.read(window).values.transpose(2, 0, 1), expected)
        assert store.bytes - before <= 1.3 * stored_bytes(path, window)
    image.close()


def test_plain_https_addresses_are_read_too(tmp_path: Path, store: Store) -> None:
    path = cog(tmp_path / "x.tif", size=300)
    store.put("x.tif", path)
    image = open_image(f"{store.address}/bucket/x.tif", scratch=tmp_path)
    with rasterio.open(path) as f:
        expected = f.read()
    read = image.read((slice(0, 300), slice(0, 300))).values
    np.testing.assert_array_equal(read.transpose(2, 0, 1), expected)


def test_an_object_is_known_by_etag_and_size_or_by_content(tmp_path: Path, store: Store) -> None:
    path = cog(tmp_path / "x.tif", size=300)
    address = store.put("x.tif", path)
    digest = input_digest(address, cache=tmp_path)
    assert digest.startswith("etag:")
    assert digest.endswith(f"+{path.stat().st_size}")
    assert identity_of(digest) == "ETag"
    verified = input_digest(address, cache=tmp_path, verify=True)
    assert verified == file_digest(path) == input_digest(path, cache=tmp_path)
    assert identity_of(verified) == "content"
    store.put("x.tif", cog(path, size=300, seed=1))
    assert input_digest(address, cache=tmp_path) != digest


def test_versions_are_known_where_a_bucket_keeps_them(tmp_path: Path, store: Store) -> None:
    import boto3

    path = cog(tmp_path / "x.tif", size=300)
    address = store.put("x.tif", path)
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.client("s3", endpoint_url=store.address, region_name="us-east-1", **keys)
    client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    version = client.put_object(Bucket="bucket", Key="x.tif", Body=path.read_bytes())["VersionId"]
    assert input_digest(address, cache=tmp_path) == f"version:{version}+{path.stat().st_size}"


def test_an_object_that_was_replaced_is_read_anew(tmp_path: Path, store: Store) -> None:
    everything = (slice(0, 300), slice(0, 300))
    for seed in range(2):
        path = cog(tmp_path / "x.tif", size=300, seed=seed)
        read = open_image(store.put("x.tif", path), scratch=tmp_path).read(everything).values
        with rasterio.open(path) as f:
            np.testing.assert_array_equal(read.transpose(2, 0, 1), f.read())


def test_a_server_that_dies_is_an_error_of_the_reads(tmp_path: Path, store: Store) -> None:
    address = store.put("x.tif", cog(tmp_path / "x.tif"))
    image = open_image(address, scratch=tmp_path)
    store.most = 0
    for again in (image, open_image(address, scratch=tmp_path)):
        with pytest.raises(InputError, match=r"run again when the server answers|check the address"):
            again.read((slice(600, 900), slice(600, 900)))
    store.most = None
    with pytest.raises(InputError, match="cannot be fetched: check the address"):
        open_image("s3://bucket/none.tif", scratch=tmp_path)


def test_addresses_that_are_refused() -> None:
    for address, words in {
        "ftp://host/x.tif": "give s3://, gs:// or https://",
        "https://user:word@host/x.tif": "GDAL_HTTP_USERPWD",
        "s3://": "names no object",
    }.items():
        with pytest.raises(InputError, match=words) as caught:
            gdal_name(address)
        assert "word@" not in str(caught.value)
    assert gdal_name("gs://bucket/a/x.tif") == "/vsigs/bucket/a/x.tif"


@pytest.mark.parametrize("name", ["x.nii.gz", "x.vrt", "x.h5"])
def test_what_must_lie_on_this_machine_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="copy it first"):
        open_image(f"https://127.0.0.1/{name}", scratch=tmp_path)
