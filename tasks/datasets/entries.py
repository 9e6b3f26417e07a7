"""Items named one by one in ``dataset.json``: which file is whose mask, and which part of an item is for what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from tasks.datasets.dataset import Split
from tasks.imagery.protocol import Window

#: What people call the splits.
SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def parse_box(text: Any) -> Window:
    """``":,42:101,:"`` as slices, one per axis, slowest first; an end left out is the image's own.

    Raises:
        ValueError: It is no box.
    """
    if isinstance(text, tuple):
        return text
    found = [re.fullmatch(r"(\d*):(\d*)", part.strip(), re.ASCII) for part in str(text).split(",")]
    ends = [tuple(int(end) if end else None for end in m.groups()) for m in found if m]
    if not 2 <= len(found) <= 3 or len(ends) < len(found):
        raise ValueError(f"{text!r} is no box; give a range per axis, slowest first, as in ':,42:101,:'")
    if any(a is not None and b is not None and a >= b for a, b in ends):
        raise ValueError(f"{text!r} ends before it begins; give the smaller end first")
    return tuple(slice(a, b) for a, b in ends)


def box_text(box: Window) -> str:
    """The inverse of :func:`parse_box`."""
    ends = [("" if s.start is None else s.start, "" if s.stop is None else s.stop) for s in box]
    return ",".join(f"{a}:{b}" for a, b in ends)


Box = Annotated[Any, BeforeValidator(parse_box), PlainSerializer(box_text, when_used="json")]


class ItemEntry(BaseModel):
    """One item.

    Attributes:
        image: Path of the image inside the data set's folder, or one per modality or band.
        mask: Path of its truth.
        id: By default the image's path without extension.
        split: Where the whole item belongs; or
        parts: per split the boxes of the item that belong there, each a range per axis, slowest first
            (``z, y, x`` of a volume in canonical orientation), as in ``":,42:101,:"``. What lies in no box
            is not used.
    """

    model_config = ConfigDict(extra="forbid")

    image: str | list[str] = Field(min_length=1)
    mask: str | None = None
    id: str | None = Field(default=None, min_length=1)
    split: str | None = None
    parts: dict[str, list[Box]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _splits_are_known(self) -> ItemEntry:
        unknown = sorted({*self.parts, *([self.split] if self.split else [])} - set(SPLIT_NAMES))
        if unknown:
            raise ValueError(f"there is no split {unknown[0]!r}; use train, val and test")
        if self.parts and self.split:
            raise ValueError("an item has either a split or parts; remove one")
        return self

    @property
    def images(self) -> tuple[str, ...]:
        """Paths, one per modality or band."""
        return (self.image,) if isinstance(self.image, str) else tuple(self.image)

    def boxes(self) -> dict[Split, tuple[Window, ...]]:
        """Boxes per split."""
        found: dict[Split, tuple[Window, ...]] = {}
        for name, boxes in self.parts.items():
            found[SPLIT_NAMES[name]] = (*found.get(SPLIT_NAMES[name], ()), *boxes)
        return found
