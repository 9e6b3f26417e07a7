"""Compiled kernels whose machine code is kept in files where that can be, and made anew where it cannot.

Numba lets an error on writing its cache end the call, and finds no place at all where neither the
package nor the user's home is writable. To a run the cache only saves seconds, so nothing that happens
to it may end one.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    InTreeCacheLocator,
    NullCache,
    UserProvidedCacheLocator,
)

logger = logging.getLogger(__name__)

Function = Callable[..., Any]


def compiled(**options: Any) -> Callable[[Function], Any]:
    """``numba.njit`` without the GIL, cached in the first writable of three folders.

    These are ``NUMBA_CACHE_DIR``, the package's ``__pycache__`` and the user's cache folder; with none of
    them the kernel is compiled once a process, and so it is where a file of the cache cannot be read or
    written.

    Args:
        options: Of ``numba.njit``, save ``cache``.
    """

    def decorate(function: Function) -> Any:
        kernel = numba.njit(nogil=True, **options)(function)
        try:
            kernel._cache = _Cache(function)
        except RuntimeError:  # numba's word for "no folder"
            kernel._cache = _NoFiles()
        return kernel

    return decorate


class _ByContent:
    """Names files by the source's content: a file of another version is never taken for one of this."""

    def get_disambiguator(self) -> str:
        stamp = repr(self.get_source_stamp())  # type: ignore[attr-defined]
        return f"{self._lineno}-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"  # type: ignore[attr-defined]


class _Named(_ByContent, UserProvidedCacheLocator):
    """Below ``NUMBA_CACHE_DIR``."""


class _Package(_ByContent, InTreeCacheLocator):
    """Beside the source."""


class _User(_ByContent, InTreeCacheLocator):
    """In the user's cache folder, below a name made of the source's folder."""

    def __init__(self, py_func: Function, py_file: str) -> None:
        from platformdirs import user_cache_dir

        super().__init__(py_func, py_file)
        folder = Path(user_cache_dir("segflow")) / "compiled"
        self._cache_path = str(folder / self.get_suitable_cache_subpath(py_file))


class _Files(CompileResultCacheImpl):
    def __init__(self, py_func: Function) -> None:
        self._locator_classes = [_Named, _Package, _User]
        super().__init__(py_func)


class _Cache(FunctionCache):
    """A cache whose errors are told once and passed over."""

    _impl_class = _Files

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except OSError as error:
            _say_once(f"a file in {self.cache_path} cannot be read ({error.strerror or error})")
        except (EOFError, pickle.UnpicklingError):
            self._forget()
        return None

    def _forget(self) -> None:
        """Empties an index that was torn, so that the next write is a good one."""
        try:
            self.flush()
        except OSError as error:
            _say_once(f"a file in {self.cache_path} cannot be written ({error.strerror or error})")

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _say_once(f"a file in {self.cache_path} cannot be written ({error.strerror or error})")


class _NoFiles(NullCache):
    """Where no folder can be written."""

    def save_overload(self, sig: Any, cres: Any) -> None:
        _say_once("no folder for it can be written")


@lru_cache(maxsize=16)
def _say_once(reason: str) -> None:
    """One line a process and reason, however many kernels there are."""
    logger.warning("compiled code is not kept in a file, so the next process compiles it again: %s", reason)
