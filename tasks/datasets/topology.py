"""How often, and along which axes, a network halves: patch, kernels and strides from shape and spacing.

The rules follow the published description of nnU-Net (Isensee et al., Nature Methods 2021): an axis
whose voxels are more than twice as long as the shortest is neither halved nor convolved across until
the others have caught up, and no axis is halved below four pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Smallest size of a feature map along an axis.
SMALLEST = 4
#: Levels at most, the first one counted.
MOST_LEVELS = 6


@dataclass(frozen=True)
class Topology:
    """Per level, from the top.

    Attributes:
        kernels: Size of the convolutions per axis.
        strides: Step into the level per axis; 1 everywhere for the first.
    """

    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def total(self) -> tuple[int, ...]:
        """Product of the strides per axis: what a patch must be a multiple of."""
        out = [1] * len(self.strides[0])
        for stride in self.strides:
            out = [a * b for a, b in zip(out, stride, strict=True)]
        return tuple(out)

    @property
    def isotropic(self) -> bool:
        """Whether all axes are treated alike on every level."""
        return all(len(set(k)) == 1 for k in self.kernels) and all(len(set(s)) == 1 for s in self.strides)


def plan_topology(
    patch: Sequence[int], spacing: Sequence[float] | None, *, most: int = MOST_LEVELS
) -> Topology:
    """Levels for a patch.

    Args:
        patch: Size per axis.
        spacing: Length of a pixel per axis; None takes them for equal.
        most: Levels at most.

    Example:
        >>> plan_topology((24, 256, 256), (5.0, 0.8, 0.8)).strides[:3]
        ((1, 1, 1), (1, 2, 2), (1, 2, 2))
    """
    size = [float(n) for n in patch]
    length = [1.0] * len(size) if spacing is None else [float(v) for v in spacing]
    kernels, strides = [_kernel(length)], [(1,) * len(size)]
    while len(strides) < most:
        able = [n / 2 >= SMALLEST for n in size]
        if not any(able):
            break
        # an axis that has no more pixels to give holds no other back
        shortest = min(here for here, can in zip(length, able, strict=True) if can)
        step = tuple(2 if can and here <= 2 * shortest else 1 for here, can in zip(length, able, strict=True))
        size = [n / s for n, s in zip(size, step, strict=True)]
        length = [v * s for v, s in zip(length, step, strict=True)]
        strides.append(step)
        # an axis once convolved stays so
        kernels.append(tuple(max(k, o) for k, o in zip(_kernel(length), kernels[-1], strict=True)))
    return Topology(tuple(kernels), tuple(strides))


def fitted_patch(patch: Sequence[int], spacing: Sequence[float] | None) -> tuple[int, ...]:
    """The patch, each axis rounded to a multiple of its total stride (down, but at least one)."""
    fitted = tuple(int(n) for n in patch)
    for _ in range(3):
        total = plan_topology(fitted, spacing).total
        rounded = tuple(max(t, n // t * t) for n, t in zip(fitted, total, strict=True))
        if rounded == fitted:
            break
        fitted = rounded
    return fitted


def _kernel(length: Sequence[float]) -> tuple[int, ...]:
    shortest = min(length)
    return tuple(1 if here > 2 * shortest else 3 for here in length)
