"""Scores of instances: panoptic quality and average precision, from label images.

A label image holds 0 for background and one positive number per instance; instances of one image do not
overlap. Two of them match where their intersection over union is above 0.5, which can be true of one pair
only (Kirillov et al., Panoptic Segmentation, 2019), so nothing is left to the order of matching. With several
classes, each class has label images of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

#: A pair above this overlap is the only one that either of its instances can have.
UNIQUE = 0.5


@dataclass(frozen=True)
class InstanceMatches:
    """What was matched in one image, or in several added up.

    Attributes:
        ious: IoU of every matched pair.
        matched: Per predicted instance, the IoU of its match, 0 without one; in the order of labels.
        labels: Labels of the predicted instances in :attr:`matched`.
        true: Number of instances in the truth.
    """

    ious: npt.NDArray[np.float64]
    matched: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64] = field(repr=False)
    true: int

    def __add__(self, other: InstanceMatches) -> InstanceMatches:
        """Both, as if of one image; labels of different images may repeat."""
        return InstanceMatches(
            np.concatenate([self.ious, other.ious]),
            np.concatenate([self.matched, other.matched]),
            np.concatenate([self.labels, other.labels]),
            self.true + other.true,
        )

    @property
    def true_positives(self) -> int:
        return len(self.ious)

    @property
    def false_positives(self) -> int:
        return len(self.matched) - len(self.ious)

    @property
    def false_negatives(self) -> int:
        return self.true - len(self.ious)

    def segmentation_quality(self) -> float:
        """SQ: mean IoU of matched pairs; NaN without one."""
        return float(self.ious.mean()) if len(self.ious) else float("nan")

    def recognition_quality(self) -> float:
        """RQ: F1 of instances; NaN where there is none in truth and prediction."""
        number = self.true + len(self.matched)
        return 2 * len(self.ious) / number if number else float("nan")

    def panoptic_quality(self) -> float:
        """PQ: sum of matched IoUs over TP + FP/2 + FN/2, which is SQ times RQ; 0 if nothing matched."""
        number = self.true + len(self.matched)
        return 2 * float(self.ious.sum()) / number if number else float("nan")

    def critical_success(self, threshold: float = UNIQUE) -> float:
        """TP over TP + FP + FN at an IoU above a threshold of at least 0.5 (Data Science Bowl 2018)."""
        if threshold < UNIQUE:
            raise ValueError(f"below an IoU of {UNIQUE} matches are not unique: {threshold:g}")
        found = int((self.ious > threshold).sum())
        number = self.true + len(self.matched) - found
        return found / number if number else float("nan")


def match_instances(
    truth: npt.NDArray[Any], prediction: npt.NDArray[Any], *, void: npt.NDArray[np.bool_] | None = None
) -> InstanceMatches:
    """Matches the instances of two label images.

    Args:
        truth: ``(*spatial)`` integer labels, 0 is background.
        prediction: Likewise.
        void: Where the truth knows nothing. These pixels count for nothing; a predicted instance that
            is unmatched and lies there by more than half is left out.

    Raises:
        ValueError: Shapes differ, or a label is negative.
    """
    if truth.shape != prediction.shape or (void is not None and void.shape != truth.shape):
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")
    if truth.size and min(truth.min(), prediction.min()) < 0:
        raise ValueError("labels are 0 for background and positive for instances")
    unknown = np.zeros(truth.shape, bool) if void is None else void
    known = ~unknown
    t_labels, t = np.unique(np.where(known, truth, 0), return_inverse=True)
    p_labels, p = np.unique(prediction, return_inverse=True)
    t, p = t.reshape(truth.shape), p.reshape(truth.shape)
    both = np.bincount((t * len(p_labels) + p)[known], minlength=len(t_labels) * len(p_labels))
    shared = both.reshape(len(t_labels), len(p_labels)).astype(np.float64)
    hidden = np.bincount(p[unknown], minlength=len(p_labels))
    union = shared.sum(axis=1)[:, None] + shared.sum(axis=0)[None, :] - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    iou = iou[t_labels > 0][:, p_labels > 0]
    iou = np.where(iou > UNIQUE, iou, 0)
    matched = iou.max(axis=0, initial=0)
    sizes = shared.sum(axis=0) + hidden
    kept = (matched > 0) | ~(hidden > sizes / 2)[p_labels > 0]
    return InstanceMatches(
        ious=iou[iou > 0],
        matched=matched[kept],
        labels=p_labels[p_labels > 0][kept].astype(np.int64),
        true=int((t_labels > 0).sum()),
    )


def average_precision(
    matches: InstanceMatches, confidence: Sequence[float], *, threshold: float = UNIQUE
) -> float:
    """Area under precision over recall, the precision made to fall (Pascal VOC since 2010, all points).

    Args:
        matches: Of one image, or of several added up.
        confidence: Of each predicted instance, in the order of ``matches.labels``; equal ones count at once.
        threshold: IoU above which an instance is found, at least 0.5.

    Returns:
        0…1; NaN where the truth has no instance.

    Raises:
        ValueError: Not one confidence per predicted instance, or a threshold below 0.5.
    """
    scores = np.asarray(confidence, np.float64)
    if scores.shape != matches.matched.shape:
        raise ValueError(f"{len(matches.matched)} predicted instances but {scores.size} confidences")
    if threshold < UNIQUE:
        raise ValueError(f"below an IoU of {UNIQUE} matches are not unique: {threshold:g}")
    if not matches.true:
        return float("nan")
    if not scores.size:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(matches.matched[order] > threshold)
    ends = np.append(np.flatnonzero(np.diff(scores[order])), scores.size - 1)
    precision = found[ends] / (ends + 1)
    recall = found[ends] / matches.true
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * falling))
