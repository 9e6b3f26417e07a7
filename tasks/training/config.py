"""One YAML file describes a training; what it may say, and what its mistakes are called."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from segmodels.bundles.card import ClassCard, Normalise, NormalisePercentile
from segmodels.bundles.postprocess import PostStep
from tasks.datasets.dataset import Layout
from tasks.datasets.entries import ItemEntry
from tasks.datasets.manifest import ClassEntry, DatasetFile
from tasks.errors import UsageError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Strict):
    """What is trained on.

    Attributes:
        path: Folder of the data set; ``--dataset`` gives another.
        layout: How it lies there; ``auto`` finds out.
        manifest: What the folder's ``dataset.json`` would say, for a folder that has none.
        validation: Share of the training items held out for choices, where the data set names no ``val`` split.
        test: Share held out for the scores of the card, where it names no ``test`` split; 0 scores on
            the validation items.
        balance_by: A detail of items (a key of ``index.json``) whose values are drawn from evenly; the
            held-out items keep its proportions.
        shares: How often each of those values is drawn, instead of evenly.
        focus: By class name, the share of tiles that hold a pixel of that class; by default half of the tiles
            are shared by all classes but the first, and ``{}`` places all tiles uniformly.
    """

    path: Path | None = None
    layout: Layout | Literal["auto"] = "auto"
    manifest: DatasetFile | None = None
    validation: float = Field(default=0.2, gt=0, lt=1)
    test: float = Field(default=0.0, ge=0, lt=1)
    balance_by: str | None = None
    shares: dict[str, float] = Field(default_factory=dict)
    focus: dict[str, float] | None = None


class Model(_Strict):
    """What is trained.

    Attributes:
        architecture: A name of ``segmodels.list_models()``.
        options: Its own settings.
    """

    architecture: str = "unet"
    options: dict[str, Any] = Field(default_factory=dict)


class LossTerm(_Strict):
    """One term of the loss: ``weight`` times the loss ``kind`` with its ``options``."""

    kind: str = "dice_cross_entropy"
    weight: float = Field(default=1.0, gt=0)
    options: dict[str, Any] = Field(default_factory=dict)


class Optimiser(_Strict):
    """AdamW under a cosine; see :class:`segmodels.training.schedule.Pace`."""

    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup: int = Field(default=50, ge=0)
    clip: float = Field(default=1.0, gt=0)


class Config(_Strict):
    """The file.

    Attributes:
        name: Of the bundle.
        description: For its card.
        licence: Of the weights, for its card.
        notes: For its card: what a reader must know of the data.
        patch: Training tile, one size per axis of the model, slowest first.
        spacing: Of the pixels that the model sees (mm or m per axis), and of its card: items are resampled to it
            unless they have it within 2 %; null takes each as it is.
        batch: Tiles a batch.
        steps: Batches in all; or
        minutes: time in all, validations included, which no two runs spend alike.
        normalise: As in the card: one entry, or one per channel.
        augment: Steps by ``kind``, in order, on normalised values.
        loss: Terms that are added.
        precision: Of the layers; weights, logits and the loss are float32 always.
        average: Decay of averaged weights; null keeps the last weights as they are.
        seed: Of weights, splits, tiles and augmentation.
        every: Steps between validations and checkpoints.
        patience: Validations without a better score before it stops; null never stops early.
        keep: Weights of the best validation, or the last.
        score: What is better: mean IoU, mean Dice, or the IoU of everything but the first class.
        classes: Other names, codes and colours than the data set's.
        tile: Of the bundle, for prediction; by default the patch doubled, up to what the stride divides.
        overlap: Of the bundle.
        padding: Of the bundle.
        postprocess: Of the bundle: steps as its card has them, none of which enters the scores.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    licence: str = ""
    notes: str = ""
    data: Data = Data()
    model: Model = Model()
    patch: tuple[int, ...] = Field(min_length=2, max_length=3)
    spacing: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    batch: int = Field(default=8, ge=1)
    steps: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    normalise: tuple[Normalise, ...] = Field(default=(NormalisePercentile(),), min_length=1)
    augment: tuple[dict[str, Any], ...] = ()
    loss: tuple[LossTerm, ...] = Field(default=(LossTerm(),), min_length=1)
    optimiser: Optimiser = Optimiser()
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    average: float | None = Field(default=None, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    every: int = Field(default=200, ge=1)
    patience: int | None = Field(default=None, ge=1)
    keep: Literal["best", "last"] = "best"
    score: Literal["mean_iou", "mean_dice", "foreground_iou"] = "mean_iou"
    classes: tuple[ClassCard, ...] | None = None
    tile: tuple[int, ...] | None = None
    overlap: float | None = Field(default=None, ge=0, lt=1)
    padding: Literal["reflect", "edge", "zero"] = "reflect"
    postprocess: tuple[PostStep, ...] | None = None

    @field_validator("augment")
    @classmethod
    def _steps_are_known(cls, steps: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        from segmodels.training.named_steps import STEPS, known_options

        for step in steps:
            kind = str(step.get("kind"))
            if kind not in STEPS:
                raise ValueError(f"there is no step {kind!r}{_nearest(kind, sorted(STEPS))}")
            for option in step:
                if option != "kind" and option not in known_options(kind):
                    raise ValueError(
                        f"the step {kind} has no option {option!r}{_nearest(option, known_options(kind))}"
                    )
        return steps

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")
        if self.tile is not None and len(self.tile) != len(self.patch):
            raise ValueError("tile needs as many sizes as patch")
        if self.spacing is not None and len(self.spacing) != len(self.patch):
            raise ValueError("spacing needs as many sizes as patch")
        return self


_SECTIONS: dict[tuple[str, ...], type[BaseModel]] = {
    (): Config,
    ("data",): Data,
    ("data", "manifest"): DatasetFile,
    ("data", "manifest", "classes"): ClassEntry,
    ("data", "manifest", "items"): ItemEntry,
    ("model",): Model,
    ("loss",): LossTerm,
    ("optimiser",): Optimiser,
    ("classes",): ClassCard,
}


def read_config(path: Path) -> Config:
    """Reads the file.

    Raises:
        UsageError: It is missing, no YAML, or says something that is not known; the nearest known key is named.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}); give a YAML file, or a recipe's name"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}; correct it") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no keys; see docs/training.md for what it must say")
    return parse_config(content, named=str(path))


def parse_config(content: dict[str, Any], *, named: str) -> Config:
    """Checks what a file says.

    Raises:
        UsageError: One sentence on the first mistake.
    """
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{named}: {_sentence(error)}") from error


def write_yaml(config: Config) -> str:
    """The configuration as YAML; what is left at its default is written too."""
    import yaml

    return str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110))


def _sentence(error: ValidationError) -> str:
    # An unknown key explains a missing one: it comes first.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    place = [str(part) for part in first["loc"]]
    where = ".".join(place)
    if first["type"] == "extra_forbidden":
        section = tuple(part for part in place[:-1] if not part.isdigit())
        known = list(_SECTIONS[section].model_fields) if section in _SECTIONS else []
        return f"there is no key {where!r}{_nearest(place[-1], known)}"
    if first["type"] == "missing":
        return f"the key {where!r} is missing; add it"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}; correct it" if where else f"{message}; correct it"


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known)}" if known else ""
