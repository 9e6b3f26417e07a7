"""``dataset.json`` or ``dataset.yaml``: what the folders alone cannot say."""

from __future__ import annotations

import colorsys
import json
import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segmodels.bundles.card import ChannelCard, ClassCard
from tasks.datasets.dataset import IGNORE, Layout, Split
from tasks.datasets.entries import SPLIT_NAMES, ItemEntry
from tasks.errors import InputError

FILE_NAMES = ("dataset.json", "dataset.yaml", "dataset.yml")
#: A run of values of a mask, ends included.
_RUN = re.compile(r"(\d+)-(\d+)", re.ASCII)


class ClassEntry(BaseModel):
    """One class: its name, and what stands for it in the truth files.

    Attributes:
        name: What people call it.
        code: Its value in masks that segflow writes; by default its place in the list.
        values: Values of the truth file (or of the attribute) that mean it, a run of them as ``"25-50"``; by
            default the code.
        colour: ``#rrggbb``.
        region: Whether its components are measured as regions; not the first class by default.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    code: int | None = None
    values: list[int | str] | None = None
    colour: str | None = None
    region: bool | None = None


class DatasetFile(BaseModel):
    """The file's keys; every one may be left out.

    Attributes:
        layout: Of the folders.
        classes: In the order of their codes.
        ignore: Values of the truth that say nothing is known there.
        channels: Names, or objects like the card's channels.
        splits: Ids per split; an entry may end in ``*``.
        items: Pairs of image and mask, where no layout of folders says which belong together; files that it
            does not name are left alone.
        images: Folder of the images.
        masks: Folder of the masks.
        mask_suffix: What a mask's name has behind its image's.
        labels: One vector file for all images (otherwise one per image lies in ``labels/``).
        layer: Of the vector files.
        attribute: Of the vector labels that says the class; without it every shape is the second class.
        outside: What lies outside every shape: the first class, or not known.
        all_touched: Whether a shape takes every pixel that it touches, not only those whose centre it holds.
        border: Width of the border class inside instances, in pixels.
        grey: ``repeat`` reads a grey picture as colour where others have colour.
        spacing: Per axis, slowest first (mm, or m), for pictures that cannot say it.
    """

    model_config = ConfigDict(extra="forbid")

    layout: Layout | None = None
    name: str = ""
    description: str = ""
    licence: str = ""
    reference: str = ""
    classes: list[ClassEntry] | None = None
    ignore: list[int] = Field(default_factory=list)
    channels: list[str | ChannelCard] = Field(default_factory=list)
    splits: dict[str, list[str]] = Field(default_factory=dict)
    items: list[ItemEntry] | None = Field(default=None, min_length=1)
    images: str | None = None
    masks: str | None = None
    mask_suffix: str = ""
    labels: str | None = None
    layer: str | None = None
    attribute: str | None = None
    outside: Literal["first", "ignore"] = "first"
    all_touched: bool = False
    border: int = Field(default=1, ge=1)
    grey: Literal["repeat"] | None = None
    spacing: tuple[float, ...] | None = None

    def class_cards(self) -> tuple[ClassCard, ...]:
        """The classes as cards, codes ascending; empty if the file names none."""
        entries = self.classes or []
        codes = [entry.code if entry.code is not None else i for i, entry in enumerate(entries)]
        cards = [
            ClassCard(
                name=entry.name,
                code=code,
                colour=entry.colour or colour_of(i),
                region=entry.region if entry.region is not None else i > 0,
            )
            for i, (entry, code) in enumerate(zip(entries, codes, strict=True))
        ]
        return tuple(sorted(cards, key=lambda card: card.code))

    def value_codes(self) -> dict[int, int]:
        """Value in the mask → class code, or :data:`IGNORE`."""
        table: dict[int, int] = {}
        for i, entry in enumerate(self.classes or []):
            code = entry.code if entry.code is not None else i
            for value in entry.values if entry.values is not None else [code]:
                run = _RUN.fullmatch(value) if isinstance(value, str) else None
                if isinstance(value, int):
                    table[value] = code
                elif run:
                    table |= dict.fromkeys(range(int(run[1]), int(run[2]) + 1), code)
        return table | dict.fromkeys(self.ignore, IGNORE)

    def attribute_codes(self) -> dict[str, int]:
        """Value of the attribute, as text → class code; a class is also known by its name."""
        table: dict[str, int] = {}
        for i, entry in enumerate(self.classes or []):
            code = entry.code if entry.code is not None else i
            for value in entry.values if entry.values is not None else [entry.name, code]:
                table[str(value)] = code
        return table | {str(value): IGNORE for value in self.ignore}

    def channel_cards(self) -> tuple[ChannelCard, ...]:
        """The channels as cards."""
        return tuple(ChannelCard(name=c) if isinstance(c, str) else c for c in self.channels)

    def split_of(self, item: str) -> Split | None:
        """Where ``splits`` puts an item."""
        for name, patterns in self.splits.items():
            for pattern in patterns:
                if item == pattern or (pattern.endswith("*") and item.startswith(pattern[:-1])):
                    return SPLIT_NAMES[name]
        return None


def colour_of(index: int) -> str:
    """A colour per place in the list of classes: black, then hues a golden angle apart."""
    if index == 0:
        return "#000000"
    rgb = colorsys.hsv_to_rgb((0.58 + 0.381966 * (index - 1)) % 1, 0.75, 0.95 - 0.2 * (index // 8 % 3))
    return "#" + "".join(f"{round(255 * v):02x}" for v in rgb)


def make_classes(names: list[str], codes: list[int] | None = None) -> tuple[ClassCard, ...]:
    """Cards for names in the order of their codes (0, 1, … by default)."""
    codes = list(range(len(names))) if codes is None else codes
    return tuple(
        ClassCard(name=name, code=code, colour=colour_of(i), region=i > 0)
        for i, (name, code) in enumerate(zip(names, codes, strict=True))
    )


def split_name(name: str) -> Split | None:
    """The split that a folder's or file's name speaks of."""
    return SPLIT_NAMES.get(name.lower())


def find_file(root: Path) -> Path | None:
    """The data set's own file, if it has one."""
    return next((root / name for name in FILE_NAMES if (root / name).is_file()), None)


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON or YAML object.

    Raises:
        InputError: The file cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            value = json.loads(text)
        else:
            import yaml

            value = yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check the path.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({' '.join(str(error).split())[:200]}); correct it.") from error
    except Exception as error:
        if type(error).__module__.split(".")[0] != "yaml":
            raise
        raise InputError(f"{path} is no YAML ({' '.join(str(error).split())[:200]}); correct it.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no object with keys; see docs/datasets.md for what belongs there.")
    return value


def parse_file(value: dict[str, Any], path: Path) -> DatasetFile:
    """Checks the file's keys.

    Raises:
        InputError: An unknown key (the nearest known one is named), or a value that cannot be.
    """
    value = dict(value)
    classes = value.get("classes")
    if isinstance(classes, dict):
        value["classes"] = _classes_of_mapping(classes)
    elif isinstance(classes, list):
        value["classes"] = [{"name": c} if isinstance(c, str) else c for c in classes]
    try:
        file = DatasetFile.model_validate(value)
    except ValidationError as error:
        raise InputError(_sentence(error, path)) from error
    return check_file(file, path)


def check_file(file: DatasetFile, path: Path) -> DatasetFile:
    """Checks what one key cannot know of another.

    Raises:
        InputError: A split is unknown, or classes clash.
    """
    unknown = sorted(set(file.splits) - set(SPLIT_NAMES))
    if unknown:
        raise InputError(f"{path} names a split {unknown[0]!r}; use train, val and test.")
    try:
        cards = file.class_cards()
    except ValidationError as error:
        raise InputError(_sentence(error, path)) from error
    codes, names = [card.code for card in cards], [card.name for card in cards]
    if len(set(codes)) < len(codes) or len(set(names)) < len(names):
        raise InputError(f"{path} gives two classes one code or one name; make them distinct.")
    if len(cards) == 1:
        raise InputError(f"{path} names one class only; name the background too.")
    return file


def inside(root: Path, relative: str, *, named_in: Path) -> Path:
    """A path from a manifest, which must stay inside the data set's folder.

    Raises:
        InputError: It is absolute or leads out with ``..``.
    """
    joined = os.path.normpath(root / relative)
    if Path(relative).is_absolute() or not Path(joined).is_relative_to(os.path.normpath(root)):
        raise InputError(
            f"{named_in} names {relative!r}, which lies outside {root}; keep the files of a data set inside it."
        )
    return Path(joined)


def _classes_of_mapping(classes: dict[Any, Any]) -> list[dict[str, Any]]:
    """``{name: value}`` or ``{value: name}`` as a list; codes are the values."""
    rows: list[dict[str, Any]] = []
    for key, value in classes.items():
        name, code = (str(value), key) if str(key).isdigit() else (str(key), value)
        rows.append({"name": name, "code": code})
    return rows


def _sentence(error: ValidationError, path: Path) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        sections: dict[object, type[BaseModel]] = {"classes": ClassEntry, "items": ItemEntry}
        fields = sections.get(first["loc"][0], DatasetFile).model_fields
        near = get_close_matches(str(first["loc"][-1]), list(fields), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}" if near else f"known are {', '.join(fields)}"
        return f"{path} has an unknown key {where!r}; {hint}?"
    return f"{path}: {where}: {first['msg']}; correct it (docs/datasets.md lists the keys)."
