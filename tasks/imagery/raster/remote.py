"""Rasters at addresses: ``s3://``, ``gs://``, ``https://``, by range requests of GDAL's file system.

Only what the user names is fetched: a virtual raster may name no address. Credentials come from the
environment and nowhere else.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from tasks.errors import InputError
from tasks.imagery.raster.dataset import Header, RasterImage
from tasks.imagery.raster.gdal import Target, gdal
from tasks.imagery.source import Source
from tasks.imagery.wanted import Wanted

SCHEMES = {"s3": "/vsis3/", "gs": "/vsigs/", "http": "/vsicurl/http://", "https": "/vsicurl/https://"}

#: What a user may set in the environment under the same names.
_DEFAULTS = {
    # What GDAL keeps of the bytes it fetched, for the whole process.
    "CPL_VSIL_CURL_CACHE_SIZE": str(16 << 20),
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
}


def gdal_name(uri: str) -> str:
    """GDAL's name of an address.

    Raises:
        InputError: Its scheme is not known, or it holds a password.
    """
    scheme, _, rest = uri.partition("://")
    prefix = SCHEMES.get(scheme.lower())
    if prefix is None:
        raise InputError(f"{uri} is no address that can be read: give s3://, gs:// or https://, or a copy.")
    parts = urlsplit(uri)
    if parts.username or parts.password:
        raise InputError(
            f"the address of {parts.path} holds a user's name or password: leave it out and put it in the "
            "environment (GDAL_HTTP_USERPWD)."
        )
    if not rest.strip("/"):
        raise InputError(f"{uri} names no object: give its whole address.")
    return prefix + rest


def options() -> dict[str, str]:
    """GDAL's configuration for addresses: nothing is listed, what is kept is bounded, GDAL retries."""
    found = {k: os.environ.get(k, v) for k, v in _DEFAULTS.items()}
    found |= {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "VSI_CACHE": "NO",
        # Nothing is read beside it that the address does not name.
        "GDAL_PAM_ENABLED": "NO",
    }
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "AWS_S3_ENDPOINT" not in os.environ:
        parts = urlsplit(endpoint)
        found |= {"AWS_S3_ENDPOINT": parts.netloc, "AWS_HTTPS": "NO" if parts.scheme == "http" else "YES"}
        found.setdefault("AWS_VIRTUAL_HOSTING", os.environ.get("AWS_VIRTUAL_HOSTING", "FALSE"))
    return found


def cached_bytes() -> int:
    """What GDAL keeps at most of the bytes it fetched."""
    text = options()["CPL_VSIL_CURL_CACHE_SIZE"]
    return int(text) if text.isdigit() else 1 << 30


def remote_identity(uri: str) -> str:
    """What tells one state of an object from another: its version or ETag, and its size.

    Returns:
        ``version:ID+SIZE`` or ``etag:ETAG+SIZE``; ``modified:TIME+SIZE`` of a server that knows neither.

    Raises:
        InputError: The server does not answer, or says nothing of this kind.
    """
    from tasks.imagery.raster import vsi

    with gdal(**options()):
        answer = vsi.headers(gdal_name(uri))
    # Of a part that was fetched, the range says how large the whole is.
    size = answer.get("content-range", "").rpartition("/")[2] or answer.get("content-length", "")
    if not size.isdigit():
        raise InputError(
            f"{uri} cannot be fetched: check the address, the connection and the credentials in the environment."
        )
    for name, kind in (
        ("x-amz-version-id", "version"),
        ("x-goog-generation", "version"),
        ("etag", "etag"),
        ("last-modified", "modified"),
    ):
        value = answer.get(name, "").strip().strip('"')
        if value and value != "null":
            return f"{kind}:{value}+{size}"
    raise InputError(
        f"{uri} has no version, ETag or date, so nobody can tell whether it changed: give --verify-content, or copy "
        "it first."
    )


def remote_digest(uri: str) -> str:
    """``sha256:…`` of all bytes of an object.

    Raises:
        InputError: It cannot be read to its end.
    """
    from tasks.imagery.raster import vsi

    name, digest = gdal_name(uri), hashlib.sha256()
    with gdal(**options()):
        vsi.forget(name)
        try:
            for piece in vsi.contents(name):
                digest.update(piece)
        except OSError as error:
            raise InputError(
                f"{uri} cannot be read ({error}): check the address, the connection and the credentials."
            ) from error
    return f"sha256:{digest.hexdigest()}"


@dataclass
class _Seen:
    """What this process knows of an address."""

    state: str = ""
    header: Header | None = None


@lru_cache(maxsize=64)
def _seen(target: Target, number: int | None, units: str) -> _Seen:
    return _Seen()


def open_remote(source: Source, wanted: Wanted, *, driver: str, format_name: str, title: str) -> RasterImage:
    """Opens an address.

    A server that stopped answering after this process had opened it once is an error of the reads, so
    that a run publishes what it has.

    Raises:
        InputError: It cannot be opened, or cannot be used as an image.
    """
    from tasks.imagery.raster import vsi

    uri = source.only.uri
    told = tuple(sorted(options().items()))
    target = Target(source, gdal_name(uri), driver, format_name, title, options=told, alone=True)
    seen = _seen(target, wanted.number, wanted.reading.units)
    try:
        state = remote_identity(uri)
    except InputError:
        if seen.header is None:
            raise
        return RasterImage(target, known=seen.header)
    if state != seen.state or seen.header is None:
        with gdal(**dict(told)):
            vsi.forget(target.name)
        image = RasterImage(target, wanted)
        seen.state, seen.header = state, image.header
        return image
    return RasterImage(target, known=seen.header)
