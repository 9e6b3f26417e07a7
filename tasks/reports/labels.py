"""Label names and colours beside a NIfTI mask, as ITK-SNAP and 3D Slicer load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.files import atomic_write
from tasks.imagery.mask_files import SPECIAL_COLOURS
from tasks.reports import words

ITK_SNAP, SLICER = "mask.label", "mask.ctbl"
_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# IDX is the value in the mask, R G B the colour, A the opacity from 0 to 1,
# VIS and MSH whether it is shown in slices and as a mesh.
################################################
"""


def write_labels(directory: Path, *, record: dict[str, Any], summary: dict[str, Any]) -> None:
    """Writes ``mask.label`` and ``mask.ctbl``.

    Code 0 is ITK-SNAP's and Slicer's "nothing", drawn transparent. Reserved codes are listed where they occur.

    Args:
        directory: Where ``mask.nii.gz`` lies.
        record: What ``run.json`` will hold.
        summary: ``summary.json``.

    Raises:
        OutputError: They cannot be written.
    """
    rows = {int(c["code"]): (c["name"], c["colour"]) for c in record["bundle"]["classes"]}
    for name, code in words.reserved_codes(record).items():
        if summary[name]["pixels"]:
            rows[code] = (name, SPECIAL_COLOURS[name])
    snap, slicer = [_HEAD], ["# Color\n"]
    if 0 not in rows:
        rows[0] = ("Clear Label", "#000000")
    for code, (name, colour) in sorted(rows.items()):
        r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        drawn = int(code != 0)
        text = " ".join(name.replace('"', "'").split()) or f"label {code}"
        snap.append(f'{code:5d} {r:5d} {g:4d} {b:4d} {drawn:8d} {drawn:2d} {drawn:2d}    "{text}"\n')
        # Slicer splits its lines at blanks.
        slicer.append(f"{code} {text.replace(' ', '_')} {r} {g} {b} {255 * drawn}\n")
    for file, lines in ((ITK_SNAP, snap), (SLICER, slicer)):
        with atomic_write(directory / file) as stream:
            stream.write("".join(lines).encode())
