"""A first configuration from what a data set looks like, to be read and edited by a person."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.datasets.dataset import Dataset
from tasks.datasets.open import open_dataset
from tasks.training.config import Data, parse_config
from tasks.training.items import split_items

if TYPE_CHECKING:
    from tasks.datasets.plan import TrainingPlan

#: Losses that take weights per class.
_WEIGHED = ("cross_entropy", "dice_cross_entropy")
#: Keys of a configuration that the plan knows by the same name.
_AS_THEY_ARE = ("patch", "spacing", "batch", "steps", "normalise", "augment", "precision")


def draft_config(path: Path, *, memory: int) -> str:
    """Looks at the training items and writes the plan as YAML, its reasons as comments.

    Args:
        path: Folder of the data set.
        memory: Bytes that the training may use.

    Raises:
        InputError: The data set cannot be read.
        UsageError: No training fits into the memory.
    """
    from segmodels.engines.hardware import trains_in_bfloat16
    from tasks.datasets.fingerprint import take_fingerprint
    from tasks.datasets.plan import plan_training

    with tempfile.TemporaryDirectory(prefix="segflow-plan-") as folder:
        scratch = Path(folder)
        dataset = open_dataset(path, scratch=scratch)
        split = split_items(dataset, Data(), seed=0, scratch=scratch)
        fingerprint = take_fingerprint(dataset, split.train, scratch=scratch)
    plan = plan_training(fingerprint, memory_bytes=memory, bfloat16=trains_in_bfloat16())
    return config_text(plan, dataset)


def config_text(plan: TrainingPlan, dataset: Dataset) -> str:
    """The plan as a configuration; what it says is read back before it is given out."""
    import yaml

    weights = [round(float(w), 4) for w in plan.class_weights]
    weighed = plan.loss in _WEIGHED and len(set(weights)) > 1
    content: dict[str, Any] = {
        "name": re.sub(r"[^a-z0-9._-]+", "-", dataset.root.name.lower()).strip("-._") or "model",
        "description": "",
        "licence": "",
        "data": {"path": str(dataset.root), "layout": dataset.layout, "validation": 0.2},
        "model": {"architecture": plan.architecture, "options": _plain(plan.options)},
        "patch": list(plan.patch),
        "spacing": None if plan.spacing is None else list(plan.spacing),
        "batch": plan.batch,
        "steps": plan.steps,
        "normalise": [n.model_dump(mode="json") for n in plan.normalise],
        "augment": list(plan.augment),
        "loss": [{"kind": plan.loss, **({"options": {"class_weights": weights}} if weighed else {})}],
        "optimiser": {"learning_rate": plan.learning_rate},
        "precision": plan.precision,
        "average": 0.998,
        "seed": 0,
        "every": max(1, min(500, plan.steps // 10)),
        "patience": None,
        "score": "mean_dice" if plan.ndim == 3 else "mean_iou",
        "classes": [c.model_dump(mode="json") for c in dataset.classes],
    }  # fmt: skip
    comments = {
        "licence": "Of the weights: yours to say.",
        "data": "Where the data set names no validation split, a fifth of its training items is held out.",
        "model": " ".join(plan.reasons[k] for k in ("architecture", "options") if k in plan.reasons),
        "loss": " ".join(plan.reasons[k] for k in ("loss", "class_weights") if k in plan.reasons),
        **{k: v for k, v in plan.reasons.items() if k in _AS_THEY_ARE},
    }
    if plan.spacing is not None:
        comments["spacing"] = (
            f"{comments.get('spacing', '')} Others are sampled linearly while training, their masks to the nearest."
        )
    if "learning_rate" in plan.reasons:
        comments["optimiser"] = plan.reasons["learning_rate"]
    if "memory_bytes" in plan.reasons:
        comments["batch"] = f"{comments.get('batch', '')} {plan.reasons['memory_bytes']}".strip()
    parse_config(content, named="the plan")
    lines = ["# Written by segflow train --auto; read it, edit it, then: segflow train THIS_FILE --out DIR"]
    for key, value in content.items():
        lines += [f"# {line}" for line in _wrapped(comments.get(key, ""))]
        flow = None if isinstance(value, (dict, list)) else False
        lines.append(
            yaml.safe_dump(
                {key: value}, default_flow_style=flow, sort_keys=False, width=100, allow_unicode=True
            ).rstrip()
        )
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> Any:
    """Tuples as lists, which is what YAML knows."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(" ".join(text.split()), 100)
