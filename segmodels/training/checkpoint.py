"""All that a training needs to go on after it was killed, in one file that is whole or absent."""

from __future__ import annotations

import json
import os
import secrets
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segmodels.errors import ModelError

Arrays = list[npt.NDArray[Any]]
_META = "meta"


class CheckpointError(ModelError):
    """A checkpoint is damaged, or of another training."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state after ``step`` steps.

    Attributes:
        key: Names the training: data, architecture and settings; another key is another training.
        step: Steps done; with the seed it tells where the source of tiles stands.
        seconds: Time spent so far.
        groups: Arrays by name: ``network`` (weights, running statistics, random states), ``optimizer``,
            ``average``, ``best``.
        notes: JSON-able state besides: scores, curves.
    """

    key: str
    step: int
    seconds: float
    groups: Mapping[str, Arrays]
    notes: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes it under another name, to the disk for certain, then puts it in its place."""
        meta = {"key": self.key, "step": self.step, "seconds": self.seconds, "notes": self.notes}
        arrays = {f"{name}/{i}": a for name, group in self.groups.items() for i, a in enumerate(group)}
        sizes = {name: len(group) for name, group in self.groups.items()}
        text = np.frombuffer(json.dumps({**meta, "groups": sizes}).encode(), np.uint8)
        part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
        try:
            with part.open("wb") as stream:
                np.savez(stream, **{_META: text, **arrays})  # type: ignore[arg-type]  # names of arrays, not options
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
            handle = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, *, key: str) -> Checkpoint | None:
        """Reads it; None where there is none.

        Raises:
            CheckpointError: It is damaged, or belongs to another training.
        """
        if not path.exists():
            return None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                meta = json.loads(bytes(archive[_META]))
                groups = {
                    name: [archive[f"{name}/{i}"] for i in range(n)] for name, n in meta["groups"].items()
                }
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise CheckpointError(
                f"{path} is damaged ({error}); delete it to train from the beginning."
            ) from error
        if meta["key"] != key:
            raise CheckpointError(
                f"{path} belongs to a training with other settings or data; choose another --out, or delete "
                "it to train from the beginning."
            )
        return cls(
            key=meta["key"],
            step=meta["step"],
            seconds=meta["seconds"],
            groups=groups,
            notes=meta["notes"],
        )


def values_of(variables: Sequence[Any]) -> Arrays:
    """Copies of the values of Keras variables."""
    import keras

    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def assign(variables: Sequence[Any], values: Sequence[npt.NDArray[Any]]) -> None:
    """Puts values back into Keras variables.

    Raises:
        CheckpointError: They differ in number or shape.
    """
    shapes = [tuple(v.shape) for v in variables]
    if shapes != [v.shape for v in values]:
        raise CheckpointError(
            "the checkpoint holds other weights than the network has; choose another --out, or delete it"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
