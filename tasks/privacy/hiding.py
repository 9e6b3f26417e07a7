"""The border that an error crosses: beyond it, an image named by its key is called by nothing else."""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from segmodels.errors import ModelError
from tasks.errors import SegflowError
from tasks.imagery.source import Source
from tasks.privacy.keys import look_up, plain_series_key

P = ParamSpec("P")
R = TypeVar("R")
#: Shorter names are no one's, and would be found in any word.
_SHORTEST = 4
#: Words of sentences about DICOM, which files and folders are called by too.
_NO_NAMES = frozenset({"DICOM", "DICOMDIR"})
#: Folders nearer to the root than this hold more than one image's files: ``/data``.
_ROOTS = 3
#: Names below a folder that are looked for.
_MOST_NAMES = 50_000


def hidden(text: str, source: Source) -> str:
    """A sentence with the image's key in place of its path, of its name, and of every name below it.

    Keys of DICOM series, which the reader makes of their UIDs alone, become those that the key file has for them.
    """
    if not source.private:
        return text
    entries = [look_up(part.uri) for part in source.parts if part.private]
    for key, uid in (pair for entry in entries for pair in entry.series.items()):
        text = text.replace(plain_series_key(uid), key)
    words = {w for entry in entries for t in entry.texts for w in _words(t)}
    if not any(w in text for w in words - _NO_NAMES):
        words |= _below(source)
    found = sorted((w for w in words - _NO_NAMES if w in text), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, found)), str(source), text) if found else text


def _words(text: str) -> set[str]:
    path = Path(text)
    words = {text, str(path), path.name, path.name.split(".")[0], str(path.absolute())}
    words |= set(re.split(r"[\s^=]+", text)) if not path.exists() else {str(path.resolve())}
    if path.is_absolute():  # files beside the image are named with its folder, which often is the patient's
        words |= {str(p.parent) for p in (path, path.resolve()) if len(p.parts) > _ROOTS}
    return {w for w in words if len(w) >= _SHORTEST}


def _below(source: Source) -> set[str]:
    words: set[str] = set()
    for folder in source.paths:
        for path in folder.rglob("*") if folder.is_dir() else ():
            if len(words) > _MOST_NAMES:
                break
            words |= {w for w in (path.name, path.stem) if len(w) >= _SHORTEST}
    return words


@contextmanager
def hiding(source: Source | Callable[[], Source | None]) -> Iterator[None]:
    """Errors raised in the body say the key alone; of unexpected ones only the type and the place are kept.

    Args:
        source: The image, or what finds it once something went wrong.
    """
    try:
        yield
    except Exception as error:
        image = source if isinstance(source, Source) else source()
        if image is None or not image.private:
            raise
        clean = cleaned(error, image)
        # Neither cause nor context may be shown with it: they hold the path.
        raise clean from None


def cleaned(error: Exception, source: Source) -> Exception:
    """An error of the same type, or one that says of which type it was."""
    if isinstance(error, SegflowError | ModelError):
        try:
            return type(error)(hidden(str(error), source))
        except TypeError:
            return SegflowError(hidden(str(error), source))
    if isinstance(error, OSError):
        return OSError(error.errno or 0, error.strerror or type(error).__name__)
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"
    return RuntimeError(f"{type(error).__name__} at {where} with {source}")


def guarded(step: Callable[P, R]) -> Callable[P, R]:
    """A step whose errors cross the border; the image is that of its request, or of its work folder's plan."""

    @functools.wraps(step)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with hiding(lambda: _image_of((*args, *kwargs.values()))):
            return step(*args, **kwargs)

    return inside


def _image_of(values: tuple[Any, ...]) -> Source | None:
    from tasks.planning.plan import Plan
    from tasks.planning.request import Request
    from tasks.work import WorkFolder

    for value in values:
        value = getattr(value, "request", value)
        if isinstance(value, Request):
            return value.image
        if isinstance(value, WorkFolder):
            try:
                return Plan.load(value.plan).image
            except (OSError, ValueError):
                continue
    return None
