"""Whom a DICOM folder is of, and which of its series a user's word means: for the key file alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.imagery.volume.dicom.headers import headers
from tasks.imagery.volume.dicom.series import gather, meant


def patient_of(source: Path, *, series_key: Callable[[str], str]) -> dict[str, Any]:
    """Whom the first slice is of, the study, and every series by its key, see ``tasks.privacy.keys.Entry``.

    Args:
        source: A folder, or a file.
        series_key: The key of a series by its UID.

    Raises:
        ValueError: There are too many files.
    """
    from pydicom import dcmread

    found, _ = headers(source)
    if not found:
        return {}
    head = dcmread(
        found[0].frames[0].stored.path, specific_tags=["PatientID", "PatientName"], stop_before_pixels=True
    )
    return {
        "patient": str(head.get("PatientID", "")),
        "name": str(head.get("PatientName", "")),
        "study": found[0].study,
        "series": {
            series_key(s.uid): {
                "uid": s.uid,
                "number": s.number,
                "description": s.description,
                "modality": s.modality,
            }
            for s in gather(found)
        },
    }


def uids_meant(source: Path, layer: str, *, by_key: Mapping[str, str]) -> tuple[str, ...]:
    """UIDs of the series that ``--layer`` means, one per channel in its order; none where that is unclear.

    Args:
        source: A folder, or a file.
        layer: A series' number, UID, description or key; for several channels several, with commas between.
        by_key: UIDs by the keys that the user was shown.

    Raises:
        ValueError: There are too many files.
    """
    every = gather(headers(source)[0])
    for words in ([layer], layer.split(",")):
        found = [meant(every, by_key.get(word.strip().lower(), word)) for word in words]
        if all(len(fits) == 1 for fits in found):
            return tuple(fits[0].uid for fits in found)
    return ()
