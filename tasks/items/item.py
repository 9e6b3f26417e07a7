"""One entry of a list of items, and the list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch

from tasks.errors import InputError
from tasks.imagery.source import Source


@dataclass(frozen=True)
class ListedItem:
    """An image with the name of its result.

    Attributes:
        id: Its relative path without extension, in the words of the list's kind.
        source: The image.
    """

    id: str
    source: Source


@dataclass(frozen=True)
class Incomplete:
    """An item that lacks something.

    Attributes:
        id: Its name.
        reason: What it lacks.
    """

    id: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """Items in the order of their ids.

    Attributes:
        kind: What was listed: ``images``, ``BIDS`` …
        items: Those that can be run.
        incomplete: Those that lack a channel.
    """

    kind: str
    items: tuple[ListedItem, ...]
    incomplete: tuple[Incomplete, ...] = ()

    def matching(self, pattern: str | None) -> Listing:
        """Only items whose id the pattern (``*`` and ``?``) fits."""
        if pattern is None:
            return self
        return Listing(
            self.kind,
            tuple(i for i in self.items if fnmatch(i.id, pattern)),
            tuple(i for i in self.incomplete if fnmatch(i.id, pattern)),
        )


def ordered(kind: str, items: Iterable[ListedItem], incomplete: Iterable[Incomplete] = ()) -> Listing:
    """A list in a fixed order.

    Raises:
        InputError: Two images would have one id.
    """
    found = sorted(items, key=lambda i: i.id)
    held: dict[str, ListedItem] = {}
    for item in found:
        other = held.setdefault(flat(item.id), item)
        if other is not item:
            raise InputError(
                f"{other.source} and {item.source} would both be item {flat(item.id)}: rename one, or name a "
                "narrower glob"
            )
    return Listing(kind, tuple(found), tuple(sorted(incomplete, key=lambda i: i.id)))


def flat(item: str) -> str:
    """An id as the name of a folder: results lie side by side, whatever tree the images lie in."""
    return item.replace("/", "__").lstrip(".")
