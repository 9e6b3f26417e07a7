"""How far a network looks, measured: the impulse response of a real model on a real input.

The theoretical receptive field of a deep network is far wider than what it uses (Luo et al. 2016,
"Understanding the Effective Receptive Field in Deep Convolutional Neural Networks"). One pixel of an input is
changed, and the radius is what holds nearly all the energy of the change of the logits around it. A tile's
border changes a whole face at once, whose small effects add up where a single pixel's are lost: so each axis
is also measured with a whole plane changed, and the wider radius counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

#: Share of the energy that lies within the radius.
ENERGY = 0.99
#: Inputs that are averaged over, each changed at another place relative to the network's stride.
SEEDS = 4
#: Enough pixels for any radius that an overlap could follow, at a bearable price.
PIXELS = 1 << 20


def receptive_radius(
    logits: Callable[[Array], Array],
    golden: Array,
    *,
    tile: tuple[int, ...],
    stride: int,
    seeds: int = SEEDS,
    energy: float = ENERGY,
) -> tuple[int, ...]:
    """Measures the radius per axis; the same bits in give the same radius.

    Each input is the golden input repeated by reflection over a tile, from another start, with a little noise.
    One pixel near its centre, then one plane across each axis, moves by one standard deviation in every channel.

    Args:
        logits: Takes ``(1, *tile, channels)`` float32 and gives ``(1, *tile, logits)``; float32 arithmetic.
        golden: The golden input, ``(b, *sides, channels)``, normalised.
        tile: Tile to measure in, one size per model axis; larger ones are cut to a bearable size.
        stride: Total stride of the network.
        seeds: Number of inputs.
        energy: Share of the energy that must lie within the radius.

    Returns:
        Pixels per model axis: the least r such that ``energy`` of all squared changes, summed over the other
        axes, lies within ``r`` of the changed pixel, and of the changed plane. 0 where nothing changes.
    """
    shape = _bearable(tile, stride)
    pixel, plane = ([np.zeros(n) for n in shape] for _ in range(2))  # energy by distance from the change
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        x = _input(golden[seed % len(golden)], shape, rng)
        step = rng.choice([-1.0, 1.0], x.shape[-1]) * _spread(golden)
        phase = seed * (stride - 1) // max(1, seeds - 1)
        centre = tuple(min(n - 1, n // 2 + phase) for n in shape)
        before = logits(x).astype(np.float64)
        power = _power(logits, x, before, (0, *centre), step)
        for d, at in enumerate(centre):
            _add(pixel[d], power, d, at)
            across = (slice(None),) * (d + 1) + (at,)
            _add(plane[d], _power(logits, x, before, across, step), d, at)
    return tuple(max(_radius(a, energy), _radius(b, energy)) for a, b in zip(pixel, plane, strict=True))


def _power(
    logits: Callable[[Array], Array],
    x: Array,
    before: npt.NDArray[np.float64],
    where: tuple[int | slice, ...],
    step: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Squared change of the logits ``(*tile)`` when ``x`` moves by ``step`` at ``where``."""
    changed = x.copy()
    changed[where] += step
    power: npt.NDArray[np.float64] = np.square(logits(changed) - before)[0].sum(axis=-1)
    return power


def _add(profile: npt.NDArray[np.float64], power: npt.NDArray[np.float64], axis: int, at: int) -> None:
    marginal = power.sum(axis=tuple(i for i in range(power.ndim) if i != axis))
    np.add.at(profile, np.abs(np.arange(len(marginal)) - at), marginal)


def _radius(profile: npt.NDArray[np.float64], energy: float) -> int:
    total = np.cumsum(profile)
    if not np.isfinite(total[-1]) or total[-1] <= 0:
        return 0
    return int(np.argmax(total >= energy * total[-1]))


def _bearable(tile: tuple[int, ...], stride: int) -> tuple[int, ...]:
    shape = list(tile)
    while math.prod(shape) > PIXELS and max(shape) > stride:
        widest = shape.index(max(shape))
        shape[widest] = max(stride, shape[widest] // 2 // stride * stride)
    return tuple(shape)


def _input(golden: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    indices = []
    for n, wanted in zip(golden.shape[:-1], shape, strict=True):
        along = np.arange(wanted) + int(rng.integers(2 * n))
        along %= 2 * n
        indices.append(np.minimum(along, 2 * n - 1 - along))  # there and back again
    x = golden[np.ix_(*indices)]
    noise = rng.normal(size=x.shape) * (0.1 * _spread(golden[None]))
    return np.ascontiguousarray((x + noise)[None], np.float32)


def _spread(golden: Array) -> npt.NDArray[np.float64]:
    spread = golden.std(axis=tuple(range(golden.ndim - 1)), dtype=np.float64)
    return np.where(spread > 0, spread, 1.0)
