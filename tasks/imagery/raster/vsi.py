"""GDAL's virtual file system: what a server says of an object, and its bytes.

rasterio has no words for these; they are GDAL's public C functions, called in the very library that
rasterio loaded, so that addresses, credentials and retries are those of the reads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

_CHUNK = 4 << 20


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    import rasterio._env

    # What the extension is linked with is found through it, wherever the wheel keeps it.
    library = ctypes.CDLL(rasterio._env.__file__)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.VSIGetFileMetadata.restype = ctypes.POINTER(ctypes.c_char_p)
    library.VSIGetFileMetadata.argtypes = [ctypes.c_char_p, ctypes.c_char_p, pointer]
    library.CSLDestroy.argtypes = [pointer]
    library.VSIFOpenL.restype, library.VSIFOpenL.argtypes = pointer, [ctypes.c_char_p, ctypes.c_char_p]
    library.VSIFReadL.restype = size
    library.VSIFReadL.argtypes = [pointer, size, size, pointer]
    library.VSIFEofL.argtypes = [pointer]
    library.VSIFCloseL.argtypes = [pointer]
    library.VSICurlPartialClearCache.argtypes = [ctypes.c_char_p]
    library.VSICurlPartialClearCache.restype = None
    return library


def headers(name: str) -> dict[str, str]:
    """What the server answers for an object, names in lower case; empty where it does not answer."""
    library = _library()
    found = library.VSIGetFileMetadata(name.encode(), b"HEADERS", None)
    if not found:
        return {}
    try:
        answer, i = {}, 0
        while (line := found[i]) is not None:
            key, _, value = line.decode("utf-8", "replace").partition("=")
            answer[key.strip().lower()] = value.strip()
            i += 1
        return answer
    finally:
        library.CSLDestroy(found)


def forget(name: str) -> None:
    """Drops what GDAL keeps of an object, which may have been replaced since."""
    _library().VSICurlPartialClearCache(name.encode())


def contents(name: str) -> Iterator[bytes]:
    """All bytes of an object, in pieces.

    Raises:
        OSError: It cannot be opened, or not read to its end.
    """
    library = _library()
    with _opened(name) as file:
        buffer = ctypes.create_string_buffer(_CHUNK)
        while True:
            n = library.VSIFReadL(buffer, 1, _CHUNK, file)
            yield buffer.raw[:n]
            if n < _CHUNK:
                if not library.VSIFEofL(file):
                    raise OSError("the server stopped in the middle")
                return


@contextmanager
def _opened(name: str) -> Iterator[ctypes.c_void_p]:
    library = _library()
    file = library.VSIFOpenL(name.encode(), b"rb")
    if not file:
        raise OSError("the server does not give it")
    try:
        yield file
    finally:
        library.VSIFCloseL(file)
