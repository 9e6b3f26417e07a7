"""Compiled counting of pairs of codes: exact, one pass, without the GIL."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

#: Codes that a table covers, ends included; 16-bit signed and unsigned codes all lie inside.
LOWEST, HIGHEST = -(2**15), 2**16 - 1
#: Counts per pair kept side by side, so that runs of one pair do not wait for each other.
LANES = 4
#: Pixels converted at once: what they need stays in the processor's cache.
PIECE = 1 << 16


def table(known: dict[int, int], *, other: int) -> npt.NDArray[np.int32]:
    """Entry ``code - LOWEST + 1`` is what a code means; the two ends stand for all codes beyond them.

    Raises:
        ValueError: A known code lies beyond them.
    """
    beyond = [code for code in known if not LOWEST <= code <= HIGHEST]
    if beyond:
        raise ValueError(f"code {beyond[0]} is outside {LOWEST}…{HIGHEST}")
    entries = np.full(HIGHEST - LOWEST + 3, other, np.int32)
    for code, value in known.items():
        entries[code - LOWEST + 1] = value
    return entries


def count_pairs(
    truth: npt.NDArray[Any],
    prediction: npt.NDArray[Any],
    *,
    rows: npt.NDArray[np.int32],
    columns: npt.NDArray[np.int32],
    shape: tuple[int, int],
) -> npt.NDArray[np.int64]:
    """How often each row meets each column.

    Args:
        truth: Codes of any integer or boolean type.
        prediction: As many of them.
        rows: Row of each code of the truth, from :func:`table`.
        columns: Column of each code of the prediction, likewise.
        shape: Number of rows and columns.
    """
    lanes = np.zeros((LANES, shape[0] * shape[1]), np.int64)
    flat_truth, flat_prediction = _flat(truth), _flat(prediction)
    starts = rows * np.int32(shape[1])
    for at in range(0, flat_truth.size, PIECE):
        t, first_t = _narrow(flat_truth[at : at + PIECE])
        p, first_p = _narrow(flat_prediction[at : at + PIECE])
        _count(t, p, starts[first_t:], columns[first_p:], lanes)
    return lanes.sum(axis=0).reshape(shape)


def _flat(codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if codes.dtype.kind not in "iub":
        raise TypeError(f"codes are integers, not {codes.dtype}")
    flat = np.ascontiguousarray(codes).reshape(-1)
    return flat.view(np.uint8) if flat.dtype == np.bool_ else flat


def _narrow(flat: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], int]:
    """Codes ≥ 0 of few types, so that few are compiled, and which entry of a table is code 0's."""
    if flat.dtype in (np.dtype(np.uint8), np.dtype(np.uint16)):
        return flat, 1 - LOWEST
    if flat.dtype == np.dtype(np.int16):
        # The same bits with the sign turned: no copy but the addition.
        return flat.view(np.uint16) ^ np.uint16(2**15), 1
    low, high = (LOWEST - 1, HIGHEST + 1) if flat.dtype.kind == "i" else (0, HIGHEST + 1)
    if flat.dtype.itemsize > 1:
        flat = np.clip(flat, low, high)
    return (flat.astype(np.int32) - np.int32(LOWEST - 1)).astype(np.uint32), 0


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _count(truth: Any, prediction: Any, rows: Any, columns: Any, lanes: Any) -> None:
    size = truth.shape[0]
    first, second, third, fourth = lanes[0], lanes[1], lanes[2], lanes[3]
    whole = size - size % 4
    for i in range(0, whole, 4):
        first[rows[truth[i]] + columns[prediction[i]]] += 1
        second[rows[truth[i + 1]] + columns[prediction[i + 1]]] += 1
        third[rows[truth[i + 2]] + columns[prediction[i + 2]]] += 1
        fourth[rows[truth[i + 3]] + columns[prediction[i + 3]]] += 1
    for i in range(whole, size):
        first[rows[truth[i]] + columns[prediction[i]]] += 1
