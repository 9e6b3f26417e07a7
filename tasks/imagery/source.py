"""What a user names as one image: a file, a folder or an address, or one of them per channel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Any, Union

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from tasks.errors import InputError, UsageError
from tasks.privacy.keys import SCHEME, key_in, look_up

#: ``scheme://``; a Windows drive is one letter.
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
#: ``T1=path``: a channel's name before its file.
_NAMED = re.compile(r"([A-Za-z][\w .-]*)=(.+)", re.DOTALL)
_SUFFIXES = (".nii.gz", ".ome.tif", ".ome.tiff", ".ome.zarr")


class Part(BaseModel):
    """One file, folder or address.

    Attributes:
        uri: A local path, an address such as ``s3://bucket/key``, or ``private:KEYFILE#KEY``.
        channel: The model's channel that it holds, where the user said so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(min_length=1)
    channel: str | None = None

    @property
    def private(self) -> bool:
        """Whether it is named by its key."""
        return self.uri.startswith(SCHEME)

    @property
    def remote(self) -> bool:
        """Whether it is an address rather than a path."""
        return _ADDRESS.match(self.uri) is not None

    @property
    def local(self) -> Path:
        """The path.

        Raises:
            InputError: It is an address.
        """
        if self.remote:
            raise InputError(f"{self.uri} is an address and a file on this machine is needed: copy it first")
        return Path(self.uri)

    def __str__(self) -> str:
        return key_in(self.uri) if self.private else self.uri


class Source(BaseModel):
    """One image as its user names it.

    ``str()`` gives its label in sentences for people.

    Attributes:
        parts: One, or several that hold channels of the same grid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: tuple[Part, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _coerced(cls, value: Any) -> Any:
        if isinstance(value, str | Path):
            return {"parts": [{"uri": str(value)}]}
        if isinstance(value, list | tuple):
            return {"parts": [{"uri": str(v)} if isinstance(v, str | Path) else v for v in value]}
        return value

    @model_serializer
    def _plain(self) -> Any:
        """A path alone is written as itself."""
        if len(self.parts) == 1 and self.parts[0].channel is None:
            return self.parts[0].uri
        return {"parts": [p.model_dump() for p in self.parts]}

    @classmethod
    def of(cls, value: Named) -> Source:
        """A path, an address, or several; a source stays what it is."""
        return value if isinstance(value, Source) else cls.model_validate(value)

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Source:
        """What a command line says: ``IMAGE``, or several, each ``FILE`` or ``CHANNEL=FILE``.

        A pattern such as ``scene/*_B?.tif`` is the files it matches, by name.

        Raises:
            UsageError: Nothing, or only some of several with a channel's name.
        """
        parts: list[Part] = []
        for text in texts:
            named = None if Path(text).exists() or _ADDRESS.match(text) else _NAMED.fullmatch(text)
            parts += (
                [Part(uri=named[2], channel=named[1])] if named else [Part(uri=u) for u in _matches(text)]
            )
        if not parts:
            raise UsageError("no image is named: give a file, a folder or an address")
        if len({p.channel is None for p in parts}) > 1:
            raise UsageError("some files are named as CHANNEL=FILE and some are not: name all, or none")
        return cls(parts=tuple(parts))

    @property
    def only(self) -> Part:
        """The part of a source that has one.

        Raises:
            InputError: It has several.
        """
        if len(self.parts) > 1:
            raise InputError(f"{self} are {len(self.parts)} files and one image is needed: name one of them")
        return self.parts[0]

    @property
    def local(self) -> Path:
        """The path of a source that is one.

        Raises:
            InputError: It is an address, or several files.
        """
        return self.revealed().only.local

    @property
    def private(self) -> bool:
        """Whether it is named by its key: ``str()``, ``name`` and ``where`` say nothing else then."""
        return any(p.private for p in self.parts)

    def revealed(self) -> Source:
        """What a key stands for; any other source is itself.

        Raises:
            InputError: The key file is gone.
        """
        if not self.private:
            return self
        return Source(parts=tuple(Part(uri=u, channel=c) for u, c in look_up(self.only.uri).parts))

    @property
    def remote(self) -> bool:
        """Whether any part is an address."""
        return any(p.remote for p in self.revealed().parts)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The parts that lie on this machine."""
        return tuple(Path(p.uri) for p in self.revealed().parts if not p.remote)

    @property
    def name(self) -> str:
        """What its results are called: the name without extension; of several parts what all begin with."""
        if self.private:
            return str(self)
        names = [_stem(p) for p in self.parts]
        same = [len(set(letters)) == 1 for letters in zip(*names, strict=False)]
        common = names[0][: same.index(False) if False in same else len(same)]
        # Cut where a word ends: of ``scene_B02`` and ``scene_B03`` that is ``scene``.
        words = common if common in names else re.sub(r"(^|[_. -]+)[^_. -]*$", "", common)
        return words.rstrip("_. -") or names[0]

    @property
    def where(self) -> str:
        """Where it lies, whatever the working directory is."""
        if self.private:
            return str(self)
        return " + ".join(p.uri if p.remote else str(p.local.resolve()) for p in self.parts)

    def absolute(self) -> Source:
        """The same with absolute paths, for processes that run elsewhere."""
        parts = (
            p if p.remote or p.private else p.model_copy(update={"uri": str(Path(p.uri).absolute())})
            for p in self.parts
        )
        return Source(parts=tuple(parts))

    def __str__(self) -> str:
        first = str(self.parts[0])
        return first if len(self.parts) == 1 else f"{first} and {len(self.parts) - 1} more"


Named = Union[str, Path, Source, Sequence[str | Path | Part]]  # noqa: UP007 - a string of the class below is no type
"""What :meth:`Source.of` takes."""


def _stem(part: Part) -> str:
    *folders, last = re.split(r"[/\\:]", part.uri.split("?")[0].rstrip("/\\"))
    if last.startswith("MTD_MSIL") and folders:
        last = folders[-1]  # all Sentinel-2 products call their metadata so
    lower = last.lower()
    suffix = next((s for s in _SUFFIXES if lower.endswith(s)), Path(last).suffix)
    return last[: len(last) - len(suffix)] if suffix else last


def _matches(text: str) -> list[str]:
    """The files that a pattern matches, by name; any other text as it is."""
    if _ADDRESS.match(text) or not any(c in text for c in "*?[") or Path(text).exists():
        return [text]
    return sorted(glob(text)) or [text]  # noqa: PTH207 - Path.glob takes no pattern with a root
