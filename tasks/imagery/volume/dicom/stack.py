"""Slices become a volume by where they lie in the patient, never by their numbers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segmodels.bundles.series import Orientation
from tasks.imagery.volume.dicom.slices import TIME_KEYS, Frame

#: Steps between slices may differ by this fraction of the usual one.
STEP_TOLERANCE = 0.05
#: Positions closer than this, in mm, are one.
SAME = 1e-3
#: Slices may lie beside their common line by this fraction of a pixel.
_BESIDE = 0.05
#: A stack leaning by less, in degrees, is upright.
_TILT = 0.05
#: Positions that a sentence lists.
_LISTED = 6


class StackError(Exception):
    """Why slices are no volume; a phrase that goes on after "the series"."""


@dataclass(frozen=True)
class Stack:
    """A volume.

    Attributes:
        frames: One per time point and slice, in the order of the patient's space: ``frames[t][k]``.
        affine: 4×4, of ``i`` (columns), ``j`` (rows), ``k`` (slices) to RAS+ in mm.
        tilt: Degrees by which the slices lean against their own normal (a tilted gantry).
        thickness: Of a slice in mm; the step where none is stated.
    """

    frames: tuple[tuple[Frame, ...], ...]
    affine: npt.NDArray[np.float64]
    tilt: float
    thickness: float

    @property
    def orientation(self) -> Orientation:
        """The plane nearest to its slices."""
        return orientation_of(self.frames[0][0])


def normal_of(frame: Frame) -> npt.NDArray[np.float64]:
    """Unit vector across a slice, DICOM's axes."""
    across: npt.NDArray[np.float64] = np.cross(frame.orientation[:3], frame.orientation[3:])
    return across


def orientation_of(frame: Frame) -> Orientation:
    """The plane nearest to a slice."""
    planes: tuple[Orientation, ...] = ("sagittal", "coronal", "axial")
    return planes[int(np.abs(normal_of(frame)).argmax())]


def stack(frames: tuple[Frame, ...]) -> Stack:
    """Sorts the slices of a series and finds its grid.

    Raises:
        StackError: They differ in size, place or orientation, or there are gaps or doubles.
    """
    _check_alike(frames)
    first = frames[0]
    across = normal_of(first)
    depth = np.array([np.dot(f.position, across) for f in frames])
    order = np.argsort(depth, kind="stable")
    levels = _levels(depth[order])
    times = _times([[frames[order[n]] for n in level] for level in levels], depth[order], levels)
    positions = np.array([f.position for f in times[0]])
    step, tilt = _step(positions, depth[order][[level[0] for level in levels]], first)
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.spacing[1]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    affine[:2] *= -1  # left, posterior, superior to right, anterior, superior
    affine += 0.0  # no negative zeros
    thickness = first.thickness if first.thickness is not None else float(np.linalg.norm(step))
    return Stack(times, affine, tilt, thickness)


def _check_alike(frames: tuple[Frame, ...]) -> None:
    first = frames[0]
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    if (
        abs(np.linalg.norm(row) - 1) > 1e-3
        or abs(np.linalg.norm(column) - 1) > 1e-3
        or abs(row @ column) > 1e-3
    ):
        raise StackError("states directions that are no right angle: export it again")
    sizes = Counter((f.stored.rows, f.stored.columns) for f in frames)
    if len(sizes) > 1:
        raise StackError(f"mixes slices of {_kinds(sizes)} pixels: split it")
    if any(np.abs(np.subtract(f.orientation, first.orientation)).max() > 1e-3 for f in frames):
        planes = Counter(orientation_of(f) for f in frames)
        listed = f" ({', '.join(f'{n} {p}' for p, n in planes.items())})" if len(planes) > 1 else ""
        raise StackError(f"mixes slices of several orientations{listed}: split it")
    if any(np.abs(np.subtract(f.spacing, first.spacing)).max() > 1e-4 * min(first.spacing) for f in frames):
        raise StackError("mixes slices of several pixel spacings: split it")


def _kinds(sizes: Counter[tuple[int, int]]) -> str:
    return ", ".join(f"{r} × {c} ({n} of them)" for (r, c), n in sizes.most_common(_LISTED))


def _levels(depth: npt.NDArray[np.float64]) -> list[list[int]]:
    """Numbers of slices at one place, place by place."""
    levels: list[list[int]] = [[0]]
    for n in range(1, len(depth)):
        if depth[n] - depth[n - 1] < SAME:
            levels[-1].append(n)
        else:
            levels.append([n])
    return levels


def _times(
    places: list[list[Frame]], depth: npt.NDArray[np.float64], levels: list[list[int]]
) -> tuple[tuple[Frame, ...], ...]:
    """Time points, where each place is there once for each of them."""
    counts = {len(p) for p in places}
    if counts == {1}:
        return (tuple(p[0] for p in places),)
    if len(counts) == 1:
        for key in range(len(TIME_KEYS)):
            whole = _by_time(places, key)
            if whole is not None:
                return whole
    double = [f"{depth[level[0]]:.2f}" for level in levels if len(level) > min(counts | {1})]
    raise StackError(
        f"has several slices at the same place (at {_some(double)} mm): remove doubles, or split its time points"
    )


def _by_time(places: list[list[Frame]], key: int) -> tuple[tuple[Frame, ...], ...] | None:
    values = {f.times[key] for p in places for f in p}
    if None in values or len(values) != len(places[0]):
        return None
    order = sorted((str(v) for v in values), key=_as_number)
    found = []
    for value in order:
        one = [f for p in places for f in p if f.times[key] == value]
        if len(one) != len(places):
            return None
        found.append(tuple(one))
    if any(len({f.times[key] for f in p}) != len(p) for p in places):
        return None
    return tuple(found)


def _as_number(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def _step(
    positions: npt.NDArray[np.float64], depth: npt.NDArray[np.float64], first: Frame
) -> tuple[npt.NDArray[np.float64], float]:
    """From one slice to the next in mm, and how far the stack leans in degrees."""
    across = normal_of(first)
    if len(positions) == 1:
        return across * (first.thickness or 1.0), 0.0
    steps = np.diff(depth)
    usual = float(np.median(steps))
    wrong = np.flatnonzero(np.abs(steps - usual) > max(STEP_TOLERANCE * usual, SAME))
    if len(wrong):
        gaps = [f"{depth[n]:.2f} to {depth[n + 1]:.2f}" for n in wrong]
        raise StackError(
            f"has {len(wrong)} gap{'s' * (len(wrong) != 1)} (its slices are {usual:.4g} mm apart, but not from "
            f"{_some(gaps)} mm): fetch the missing slices, or resample it with dcm2niix"
        )
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    line = positions[0] + np.arange(len(positions))[:, None] * step
    beside = positions - line
    beside -= np.outer(beside @ across, across)
    if np.linalg.norm(beside, axis=1).max() > _BESIDE * min(first.spacing):
        raise StackError("has slices that do not lie on one line: resample it with dcm2niix")
    lean = math.degrees(math.acos(min(1.0, float(step @ across) / float(np.linalg.norm(step)))))
    if lean > 60:
        raise StackError(f"leans by {lean:.0f}°: resample it with dcm2niix")
    return step, lean if lean > _TILT else 0.0


def _some(texts: list[str]) -> str:
    more = len(texts) - _LISTED
    return ", ".join(texts[:_LISTED]) + (f" and {more} more" if more > 0 else "")
