"""What a model answers when it is run: whether it keeps the size, gives logits, and how its grid moves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segmodels.engines.backend import Array, Run
from segmodels.errors import BundleError, ModelError

#: Strides that are tried by number of axes: networks for volumes halve less often, and cost more.
STRIDES = {2: (1, 2, 4, 8, 16, 32, 64), 3: (1, 2, 4, 8, 16)}
#: Sides of the input on which they are tried.
SIDES = {2: 256, 3: 96}
#: A shift by the stride may change logits by this much more than the best shift does, of their spread.
SLACK = 3.0
NEGLIGIBLE = 1e-4


def check_answer(run: Run, x: Array, *, logits: int, file: str) -> Array:
    """Runs ``x`` and refuses what is no segmentation.

    Raises:
        BundleError: Another size, values that are no logits, or the model cannot run.
    """
    out = run(x)
    if out.shape[1:-1] != x.shape[1:-1]:
        have, want = _by(out.shape[1:-1]), _by(x.shape[1:-1])
        raise BundleError(
            f"{file} answers a tile of {want} with {have} pixels, but a mask needs every pixel; put the resize to "
            "the input's size (bilinear, as your framework does it) into the model and export again."
        )
    if out.shape[-1] != logits:
        raise BundleError(f"{file} gives {out.shape[-1]} channels where it says {logits}; export it again.")
    if not np.isfinite(out).all():
        raise BundleError(f"{file} gives values that are not finite; check the weights before you export.")
    if logits > 1 and out.min() >= 0 and np.allclose(out.sum(axis=-1), 1, atol=1e-3):
        raise BundleError(
            f"{file} gives probabilities (they sum to 1), but a bundle's model gives logits; export it without its "
            "softmax."
        )
    return out


def find_stride(run: Run, x: Array) -> int:
    """The least shift of the input, of ``STRIDES``, that only shifts the logits.

    Args:
        run: The model, of free size.
        x: ``(1, *sides, channels)``, each side as in ``SIDES``.

    Returns:
        The stride; sides that are no multiples of it may be refused by the model.

    Raises:
        BundleError: The model runs at no size that was tried.
    """
    strides = STRIDES[x.ndim - 2]
    side = min(x.shape[1:-1]) // 2
    quarter, size = side // 4, side // 2 - strides[-1] // 2
    found: dict[int, float] = {}
    base, reason = None, ""
    for stride in reversed(strides):
        try:
            if base is None:
                base = run(_crop(x, 0, side))
            run(_crop(x, 0, side + stride))  # a size that is no multiple may be refused
            moved = run(_crop(x, stride, side))
        except ModelError as error:
            reason = str(error)
            continue
        # The middle half: what lies near a border sees the border move.
        was, now = _middle(base, quarter + stride, size), _middle(moved, quarter, size)
        found[stride] = float(np.sqrt(np.mean((was - now) ** 2)) / max(float(was.std()), 1e-12))
    if not found:
        raise BundleError(f"the model runs at no size of {side} pixels ({reason}); give --tile and --stride.")
    bound = max(NEGLIGIBLE, SLACK * min(found.values()))
    return min(stride for stride, change in found.items() if change <= bound)


def _crop(x: Array, start: int, side: int) -> Array:
    spatial = (slice(start, start + side),) * (x.ndim - 2)
    return np.ascontiguousarray(x[(slice(0, 1), *spatial)])


def _middle(out: Array, start: int, size: int) -> npt.NDArray[np.float64]:
    return out[(slice(0, 1), *(slice(start, start + size),) * (out.ndim - 2))].astype(np.float64)


def _by(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))
