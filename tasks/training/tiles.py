"""Training tiles as a network wants them: drawn from groups of items, labels as positions of its logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segmodels.normalise import Normaliser
from tasks.datasets.dataset import IGNORE, Dataset
from tasks.datasets.sampler import StreamingSampler
from tasks.datasets.splits import Part
from tasks.training.items import group_of


class Tiles:
    """Draws normalised tiles (a :class:`segmodels.training.prefetch.Source`).

    Each is decided by the seed and its number. A 2-D tile of a volume is a slice across its first axis.

    Args:
        dataset: Of the items.
        parts: Items, or boxes of one, to draw from; no tile leaves its box.
        normalisers: Per item's id, frozen with that item's statistics.
        patch: Size of a tile per axis of the model, in pixels of ``spacing``.
        spacing: Of all tiles, per axis of the model; None takes that of each item.
        seed: Of every choice.
        codes: Class codes in the order of the logits, whose positions are the labels that come out.
        balance_by: A detail of items whose values are drawn from by ``shares``, evenly by default.
        shares: By value; what is not named gets none.
        focus: By class code, the share of tiles that hold it; None gives half of the tiles to all
            classes but the first.
        scratch: Folder for inflated volumes.

    Raises:
        ValueError: The shares leave nothing to draw from.
    """

    def __init__(
        self,
        dataset: Dataset,
        parts: Sequence[Part],
        *,
        normalisers: Mapping[str, Normaliser],
        patch: Sequence[int],
        spacing: Sequence[float] | None = None,
        seed: int,
        codes: Sequence[int],
        balance_by: str | None = None,
        shares: Mapping[str, float] | None = None,
        focus: Mapping[int, float] | None = None,
        scratch: Path,
    ) -> None:
        groups: dict[str, list[Part]] = {}
        for part in parts:
            groups.setdefault(group_of(part.item, balance_by), []).append(part)
        weights = {g: float(shares.get(g, 0.0)) if shares else 1.0 for g in sorted(groups)}
        drawn = {g: w for g, w in weights.items() if w > 0}
        if not drawn:
            raise ValueError(f"data.shares gives nothing to any of {', '.join(sorted(groups))}")
        self._ends = np.cumsum(list(drawn.values())) / sum(drawn.values())
        self._slices = len(patch) < dataset.ndim
        tile = (1, *patch) if self._slices else tuple(patch)
        self._sources = [
            StreamingSampler(
                dataset,
                groups[group],
                tile=tile,
                scratch=scratch,
                balance=focus,
                spacing=spacing,
                normalise=lambda item: normalisers[item.id],
                seed=seed,
            )
            for group in drawn
        ]
        self._seed, self._number = seed, 0
        self._codes = np.asarray(sorted(codes), np.int16)

    def skip(self, n: int) -> None:
        """Goes on as if ``n`` tiles had been drawn."""
        self._number += n

    def draw(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
        """The next tile: ``(*patch, channels)`` normalised, ``(*patch)`` positions among the codes or IGNORE."""
        u = np.random.default_rng([self._seed, 2, self._number]).random()
        group = min(int(np.searchsorted(self._ends, u, side="right")), len(self._sources) - 1)
        image, labels = self._sources[group].tile(self._number)
        self._number += 1
        if self._slices:
            image, labels = image[0], labels[0]
        return image, positions_of(labels, self._codes)

    def close(self) -> None:
        """Gives files and memory back."""
        for source in self._sources:
            source.close()


def positions_of(labels: npt.NDArray[np.int16], codes: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Positions of labels among ascending class codes; IGNORE for what is no class."""
    place = np.searchsorted(codes, labels)
    known = codes[np.minimum(place, len(codes) - 1)] == labels
    return np.where(known, place, IGNORE).astype(np.int16)
