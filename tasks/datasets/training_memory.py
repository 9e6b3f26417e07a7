"""How much memory a training step takes: a rough figure, on the safe side of what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tasks.datasets.topology import Topology

#: What Python, the framework and its threads take before a model is there.
BASE_BYTES = 900 << 20
#: Float32 values per output value of a level that a step keeps: convolutions, norms, activations of
#: encoder and decoder, the concatenated skip, and the gradients in flight. Two plain U-Nets on
#: TensorFlow, CPU, took 13 (2-D) and 14 (3-D).
_KEPT = 18
#: Weight, gradient and two moments of Adam.
_COPIES = 4


def training_bytes(
    topology: Topology,
    filters: Sequence[int],
    patch: Sequence[int],
    *,
    batch: int,
    channels: int,
    classes: int,
    blocks: Sequence[int] | None = None,
) -> int:
    """Bytes of a training step in float32.

    Args:
        topology: Levels.
        filters: Width of each.
        patch: Size of a tile per axis.
        batch: Tiles.
        channels: Of the image.
        classes: Of the output.
        blocks: Residual blocks per level; None counts a plain level of two convolutions.
    """
    voxels = float(math.prod(patch))
    values = voxels * (channels + 4 * classes)
    weights = 0.0
    before = channels
    for i, (width, kernel, stride) in enumerate(
        zip(filters, topology.kernels, topology.strides, strict=True)
    ):
        voxels /= math.prod(stride)
        pairs = 1 if blocks is None else blocks[i]
        # half of what a plain level keeps belongs to its encoder
        values += voxels * width * _KEPT * (1 + pairs) / 2
        size = math.prod(kernel)
        weights += size * (before * width + (2 * pairs - 1) * width * width)
        if i:
            weights += size * 3 * before * before + math.prod(stride) * width * before
        before = width
    return int(BASE_BYTES + 4 * (batch * values + _COPIES * weights))
