"""How good a mask is: classes from a confusion matrix, surfaces in mm, instances by overlap."""

from segmodels.metrics.confusion import ConfusionMatrix
from segmodels.metrics.instances import InstanceMatches, average_precision, match_instances
from segmodels.metrics.surface import SurfaceScores, mask_scores

__all__ = [
    "ConfusionMatrix",
    "InstanceMatches",
    "SurfaceScores",
    "average_precision",
    "mask_scores",
    "match_instances",
]
