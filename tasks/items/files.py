"""Images of a folder tree, or those that a glob names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tasks.errors import InputError
from tasks.imagery.formats import FORMATS, Format, format_of, named
from tasks.imagery.source import Source
from tasks.items.dicom import studies
from tasks.items.item import ListedItem, Listing, ordered
from tasks.publishing.publish import RECORD
from tasks.work import WORK


def has_wildcard(text: str) -> bool:
    """Whether a text is a glob rather than a path that has such letters."""
    return glob.has_magic(text) and not Path(text).exists()


def list_glob(pattern: str) -> Listing:
    """Images that a glob (``**`` for any depth) names; ids count from where its wildcards begin."""
    parts = Path(pattern).parts
    wild = next(i for i, p in enumerate(parts) if glob.has_magic(p))
    base = Path(*parts[:wild]) if wild else Path()
    found = [
        p
        for p in base.glob("/".join(parts[wild:]))
        if not any(n.startswith(".") for n in p.relative_to(base).parts)
    ]
    return ordered("images", _items(found, base))


def list_folder(root: Path) -> Listing:
    """Images below a folder; hidden ones and results of runs are no images."""
    return ordered("images", _items(_walk(root), root))


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == WORK:
            continue
        kind = kind_of(path) if path.is_dir() else None
        if kind is not None and kind.name == "dicom":
            yield from studies(path)
        elif path.is_dir() and kind is None:
            if not (path / RECORD).is_file():
                yield from _walk(path)
        else:
            yield path


def kind_of(folder: Path) -> Format | None:
    """The format that takes a folder as one image; None where it holds images of its own."""
    found = next((f for f in FORMATS if f.folder is not None and named(f.folder)(folder)), None)
    if found is None or found.name != "dicom":
        return found
    # One slice deep inside a tree does not make the tree a study.
    others = tuple(s for f in FORMATS if f is not found for s in f.suffixes)
    for _, folders, names in os.walk(folder):
        folders[:] = [n for n in folders if not n.startswith(".") and n != WORK]
        if any(n.lower().endswith(others) for n in names):
            return None
    return found


def _items(paths: Iterable[Path], base: Path) -> Iterator[ListedItem]:
    for path in sorted(paths):
        source = Source.of(path)
        try:
            format_of(source)
        except InputError:
            continue  # a text file, a sidecar
        relative = path.parent.relative_to(base).as_posix() if path.parent != base else "."
        yield ListedItem(source.name if relative == "." else f"{relative}/{source.name}", source)
