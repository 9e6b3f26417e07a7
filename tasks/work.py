"""Where a run keeps its files until they are published."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import UsageError
from tasks.imagery.source import Named, Source

WORK = ".segflow"


@dataclass(frozen=True)
class WorkFolder:
    """Paths of one item's run.

    Attributes:
        out: The output folder that the user named.
        item: The item's id.
        key: Names the plan; block files are reused only under the same key.
    """

    out: Path
    item: str
    key: str = ""

    @property
    def root(self) -> Path:
        """Holds the lock and everything below; on the same file system as the result."""
        return self.out / WORK / self.item

    @property
    def final(self) -> Path:
        return self.out / self.item

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def run(self) -> Path:
        return self.root / self.key

    @property
    def blocks(self) -> Path:
        return self.run / "blocks"

    @property
    def result(self) -> Path:
        return self.run / "result"

    @property
    def plan(self) -> Path:
        return self.run / "plan.json"


def item_id(image: Named, *, name: str | None = None) -> str:
    """The item's id: the file's name without extension, unless one is given.

    Raises:
        UsageError: A given name that could leave the output folder.
    """
    if name is None:
        name = Source.of(image).name
    if not _is_utf8(name) or not name or name.startswith(".") or not re.fullmatch(r"[^\\/\x00-\x1f]+", name):
        raise UsageError(
            f"{name!r} cannot be an item's name: give --item a name without slashes or a leading dot"
        )
    return name


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
