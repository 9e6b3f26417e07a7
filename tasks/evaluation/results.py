"""Everything that an evaluation found, as one JSON-able object and as rows of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from segmodels.bundles.card import ClassCard
from segmodels.metrics import formulas
from tasks.evaluation.classes import OUTSIDE
from tasks.evaluation.intervals import Bootstrap
from tasks.evaluation.score import ItemScore

SURFACE = ("hd95", "assd", "surface_dice")
Row = dict[str, Any]


def summarise(
    items: Sequence[ItemScore], classes: Sequence[ClassCard], *, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Pooled scores with intervals, means over items with intervals, and each item's own scores.

    Args:
        items: Scored and failed ones.
        classes: All classes, in the order of tables.
        bootstrap: How intervals are drawn.
    """
    scored = [item for item in items if item.status == "scored"]
    codes = [c.code for c in classes]
    tables = np.array([item.table(codes) for item in scored], np.int64).reshape(
        len(scored), len(codes), len(codes) + len(OUTSIDE)
    )
    pooled = tables.sum(axis=0)
    return {
        "classes": [c.model_dump() for c in classes],
        "units": sorted({item.unit for item in scored if item.surfaces}),
        "items": {
            "scored": len(scored),
            "failed": [{"item": i.id, "reason": i.reason} for i in items if i.status == "failed"],
        },
        "pixels": {
            "counted": int(pooled.sum()),
            "ignored": sum(item.ignored for item in scored),
            **{name: int(pooled[:, len(codes) + i].sum()) for i, name in enumerate(OUTSIDE)},
        },
        "pooled": {
            "overall": {
                name: _with_ends(score(pooled), *bootstrap.pooled(tables, score))
                for name, score in formulas.OVERALL.items()
            },
            "classes": _pooled_classes(tables, pooled, classes, bootstrap),
        },
        "mean_over_items": {
            "overall": {
                name: _mean([float(score(t)) for t in tables], bootstrap)
                for name, score in formulas.OVERALL.items()
            },
            "classes": _mean_classes(scored, tables, classes, bootstrap),
        },
        "confusion": {
            "rows": [c.name for c in classes],
            "columns": [*(c.name for c in classes), *OUTSIDE],
            "counts": pooled.tolist(),
        },
        "per_item": [
            {
                "item": item.id,
                "ignored": item.ignored,
                "unit": item.unit,
                "notes": list(item.notes),
                "overall": {name: _number(score(table)) for name, score in formulas.OVERALL.items()},
                "classes": item_rows(item, table, classes),
            }
            for item, table in zip(scored, tables, strict=True)
        ],
    }


def item_rows(item: ItemScore, table: Any, classes: Sequence[ClassCard]) -> list[Row]:
    """One row per class of an item."""
    scores = {name: score(table) for name, score in formulas.PER_CLASS.items()}
    rows = []
    for i, c in enumerate(classes):
        surface = item.surfaces.get(c.code)
        rows.append(
            {
                "class": c.name,
                "code": c.code,
                "true_pixels": int(table[i].sum()),
                "predicted_pixels": int(table[:, i].sum()),
                "hit_pixels": int(table[i, i]),
                **{name: int(table[i, len(classes) + k]) for k, name in enumerate(OUTSIDE)},
                **{name: _number(values[i]) for name, values in scores.items()},
                **{name: _number(getattr(surface, name)) if surface else None for name in SURFACE},
                "surface_status": surface.status if surface else "not asked for",
            }
        )
    return rows


def _pooled_classes(
    tables: Any, pooled: Any, classes: Sequence[ClassCard], bootstrap: Bootstrap
) -> list[Row]:
    ends = {
        name: (score(pooled), *bootstrap.pooled(tables, score)) for name, score in formulas.PER_CLASS.items()
    }
    return [
        {
            "class": c.name,
            "code": c.code,
            "true_pixels": int(pooled[i].sum()),
            "predicted_pixels": int(pooled[:, i].sum()),
            **{name: int(pooled[i, len(classes) + k]) for k, name in enumerate(OUTSIDE)},
            **{name: _with_ends(v[i], low[i], high[i]) for name, (v, low, high) in ends.items()},
        }
        for i, c in enumerate(classes)
    ]


def _mean_classes(
    scored: Sequence[ItemScore], tables: Any, classes: Sequence[ClassCard], bootstrap: Bootstrap
) -> list[Row]:
    values = {name: [score(t) for t in tables] for name, score in formulas.PER_CLASS.items()}
    return [
        {
            "class": c.name,
            "code": c.code,
            **{name: _mean([float(v[i]) for v in several], bootstrap) for name, several in values.items()},
            **{
                name: _mean(
                    [float(getattr(s.surfaces[c.code], name)) for s in scored if c.code in s.surfaces],
                    bootstrap,
                )
                for name in SURFACE
            },
        }
        for i, c in enumerate(classes)
    ]


def _mean(values: Sequence[float], bootstrap: Bootstrap) -> dict[str, Any]:
    array = np.asarray(values, np.float64)
    known = array[~np.isnan(array)]
    value = float(known.mean()) if known.size else float("nan")
    return {**_with_ends(value, *bootstrap.mean(array)), "items": int(known.size)}


def _with_ends(value: Any, low: Any, high: Any) -> dict[str, float | None]:
    return {"value": _number(value), "low": _number(low), "high": _number(high)}


def _number(value: Any) -> float | None:
    """None for what JSON has no word for."""
    return float(value) if math.isfinite(value) else None
