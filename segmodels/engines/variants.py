"""Test-time variants: mirrored and turned copies of a tile, their probabilities averaged inside the tile.

The average is over a fixed list in a fixed order, so that a tile's bits stay a function of the tile alone, and
it comes back as logits, so that whatever blends tiles need not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from segmodels.engines.backend import Array
from segmodels.engines.base import Engine
from segmodels.errors import EngineError

Variants = Literal["none", "flips", "full"]

#: Least probability whose logarithm is taken; below it every blend rounds to zero anyway.
TINY = np.float32(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Variant:
    """A mirroring, then a number of quarter turns in the plane of the last two axes.

    Attributes:
        mirrored: Model axes that are reversed, 0 the slowest.
        turns: Quarter turns, 0 to 3.
    """

    mirrored: tuple[int, ...]
    turns: int = 0

    def apply(self, batch: Array) -> Array:
        """``(batch, *tile, channels)`` seen otherwise; C-contiguous."""
        out = np.flip(batch, tuple(d + 1 for d in self.mirrored))
        return np.ascontiguousarray(np.rot90(out, self.turns, axes=(-3, -2)))

    def undo(self, batch: Array) -> Array:
        """What :meth:`apply` did, put back."""
        return np.flip(np.rot90(batch, -self.turns, axes=(-3, -2)), tuple(d + 1 for d in self.mirrored))


def list_variants(variants: Variants, tile: tuple[int, ...]) -> tuple[Variant, ...]:
    """The distinct variants of a tile, the tile as it is first.

    ``flips`` are all ``2^n`` mirrorings of its n axes; ``full`` adds quarter turns of the last two axes, each
    symmetry of the square once: 8 in 2-D, 16 in 3-D.

    Raises:
        EngineError: If turns are asked for and the last two sides differ.
    """
    ndim = len(tile)
    if variants == "none":
        return (Variant(()),)
    mirrored = [
        tuple(d for d, wanted in enumerate(bits) if wanted) for bits in product((False, True), repeat=ndim)
    ]
    flips = tuple(Variant(axes) for axes in mirrored)
    if variants == "flips":
        return flips
    if ndim < 2 or tile[-1] != tile[-2]:
        raise EngineError(
            f"Quarter turns need tiles of equal height and width, not {'×'.join(map(str, tile))}; "
            "give another tile, or the variants flips."
        )
    # A mirroring and no or one quarter turn reach all eight symmetries of the square; two turns are two flips.
    return (*flips, *(Variant(axes, 1) for axes in mirrored))


class VariantEngine:
    """An engine that runs every variant of a batch and averages; see ``segmodels.engines.base``."""

    def __init__(self, engine: Engine, variants: tuple[Variant, ...], *, sigmoid: bool) -> None:
        self.name = engine.name
        self.precision = engine.precision
        self.library = engine.library
        self.callers = engine.callers
        self._engine = engine
        self._variants = variants
        self._probabilities = _two_sided if sigmoid else _softmax
        self._sigmoid = sigmoid

    def logits(self, batch: Array) -> Array:
        """Logits whose probabilities are the mean over the variants: ``log p``, or ``log p - log(1 - p)``."""
        out = self._mean(batch, self._variants)
        np.log(np.maximum(out, TINY, out=out), out=out)
        return out[..., 1:] - out[..., :1] if self._sigmoid else out

    def _mean(self, batch: Array, variants: tuple[Variant, ...]) -> Array:
        """By halves: two equal halves average to the very same bits, and few arrays are held at once."""
        if len(variants) == 1:
            (variant,) = variants
            return variant.undo(self._probabilities(self._engine.logits(variant.apply(batch))))
        half = len(variants) // 2
        mean = np.ascontiguousarray(self._mean(batch, variants[:half]))
        mean += self._mean(batch, variants[half:])
        mean *= np.float32(0.5)
        return mean


def with_variants(engine: Engine, variants: Variants, *, tile: tuple[int, ...], sigmoid: bool) -> Engine:
    """``engine`` itself for ``none``, else one that averages over the variants of its tile.

    Args:
        engine: Opened for ``tile``.
        variants: ``none``, ``flips`` or ``full``.
        tile: Tile size, one per model axis.
        sigmoid: Whether its single logit separates two classes; else there is one logit per class.

    Raises:
        EngineError: If the tile has no such variants.
    """
    chosen = list_variants(variants, tile)
    return engine if len(chosen) == 1 else VariantEngine(engine, chosen, sigmoid=sigmoid)


def probabilities_of(logits: Array, *, sigmoid: bool) -> Array:
    """``(…, classes)``: of a single logit both classes, so that neither is lost beside a 1."""
    return _two_sided(logits) if sigmoid else _softmax(logits)


def _softmax(logits: Array) -> Array:
    out = logits - logits.max(axis=-1, keepdims=True)
    np.exp(out, out=out)
    out /= out.sum(axis=-1, keepdims=True)
    return out


def _two_sided(logits: Array) -> Array:
    """Probabilities of the first and of the second class, so that neither is lost beside a 1."""
    return _softmax(np.concatenate([np.zeros_like(logits), logits], axis=-1))
