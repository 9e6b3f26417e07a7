"""What a header says of a slice and of its series, once it is believed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
#: What may tell the time points of a series apart, the first that does so cleanly.
TIME_KEYS = ("TemporalPositionIdentifier", "TriggerTime", "AcquisitionNumber", "AcquisitionTime")

#: Why a file is left out that is no DICOM image at all.
CONTENTS, FOREIGN = "DICOMDIR", "not DICOM"


@dataclass(frozen=True)
class Stored:
    """How a file stores its frames.

    Attributes:
        path: The file.
        offset: Byte where the frames begin; of compressed ones, where their offset table does.
        syntax: UID of the transfer syntax.
        rows: Of a frame.
        columns: Of a frame.
        allocated: Bits per pixel in the file: 8, 16 or 32.
        bits: Of these, those that hold the value.
        signed: Whether values have a sign.
        frames: How many.
    """

    path: Path
    offset: int
    syntax: str
    rows: int
    columns: int
    allocated: int
    bits: int
    signed: bool
    frames: int

    @property
    def native(self) -> bool:
        """Whether pixels lie in the file as they are."""
        return self.syntax in NATIVE

    @property
    def frame_bytes(self) -> int:
        """Of one frame, decoded."""
        return self.rows * self.columns * self.allocated // 8


@dataclass(frozen=True)
class Frame:
    """One slice.

    Attributes:
        stored: The file that holds it.
        index: Its number there, from 0.
        position: Centre of its first pixel in mm, DICOM's axes (left, posterior, superior).
        orientation: Directions of a row, then of a column.
        spacing: Millimetres between rows, between columns.
        thickness: Of the slice in mm, if stated.
        slope: Of the rescaling to physical values.
        intercept: As ``slope``.
        padding: Lowest and highest stored value that mean "nothing was measured", if stated.
        times: Its values for :data:`TIME_KEYS`, None where it has none.
    """

    stored: Stored
    index: int
    position: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    thickness: float | None
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    times: tuple[str | None, ...]


@dataclass(frozen=True)
class Header:
    """What a file says of its series.

    Attributes:
        series: UID.
        study: UID.
        space: UID of the frame of reference; empty if it has none.
        number: Of the series.
        modality: As ``CT``.
        description: Free text.
        kernel: Convolution kernel.
        frames: Its slices.
    """

    series: str
    study: str
    space: str
    number: str
    modality: str
    description: str
    kernel: str
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Reject:
    """A file that holds no slice.

    Attributes:
        reason: :data:`CONTENTS`, :data:`FOREIGN`, or what goes on after "DICOM file": ``without an image``.
        series: UID of its series, if it has one.
    """

    reason: str
    series: str = ""
