"""BIDS-derivatives records beside a medical mask: ``mask.json`` and the label table ``mask.tsv``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.reports import words

_MEANING = {
    "nodata": "voxels without data in the input",
    "failed": "voxels of a tile that failed",
    "unobserved": "voxels declared invalid by a validity mask",
}


def write_bids(directory: Path, *, record: dict[str, Any], summary: dict[str, Any]) -> None:
    """Writes the sidecar and the label table of ``mask.nii.gz``.

    The table has the columns of a BIDS ``dseg.tsv``: index, name, abbreviation, color. Codes
    of nodata, failed and unobserved voxels are listed where they occur, so that no value of
    the mask is left unexplained.

    Args:
        directory: Where ``mask.nii.gz`` lies.
        record: What ``run.json`` will hold.
        summary: ``summary.json``.
    """
    bundle, source = record["bundle"], record["input"]
    sidecar = {
        "Description": f"Segmentation of {Path(source['path']).name} by {bundle['name']} {bundle['version']}",
        "Type": "ROI",
        "SpatialReference": "orig",
        "Resolution": "the input's own voxel grid",
        "Manual": False,
        "Sources": [Path(source["path"]).name],
        "SourceDigests": [source["digest"]],
        "LabelTable": "mask.tsv",
        "GeneratedBy": [
            {"Name": "segflow", "Version": record["segflow"], "Description": "tiled segmentation"},
            {"Name": bundle["name"], "Version": str(bundle["version"]), "Digest": bundle["digest"]},
        ],
        "Parameters": record["parameters"],
        "ParametersDigest": record["parameters_digest"],
        "Licence": bundle.get("licence", ""),
    }
    text = json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n"
    (directory / "mask.json").write_text(text, encoding="utf-8")
    rows = [("index", "name", "abbreviation", "color")]
    taken: set[str] = set()
    for c in bundle["classes"]:
        rows.append(
            (str(c["code"]), _cell(c["name"]), _abbreviation(c["name"], c["code"], taken), c["colour"])
        )
    for name, code in words.reserved_codes(record).items():
        if summary[name]["pixels"]:
            rows.append((str(code), f"{name}: {_MEANING[name]}", _abbreviation(name, code, taken), "#808080"))
    (directory / "mask.tsv").write_text(
        "".join("\t".join(r) + "\n" for r in rows), encoding="utf-8", newline="\n"
    )


def _cell(text: str) -> str:
    """A name without the characters that would break the table; never an empty cell."""
    return " ".join(text.split()) or "n/a"


def _abbreviation(name: str, code: int, taken: set[str]) -> str:
    """Initials, or the first letters; made unique by the code where needed."""
    parts = [
        "".join(ch for ch in p if ch.isalnum()) for p in name.replace("-", " ").replace("_", " ").split()
    ]
    parts = [p for p in parts if p]
    short = ("".join(p[0] for p in parts) if len(parts) > 1 else "".join(parts)[:3]).upper()[:6] or "L"
    short = f"{short}{code}" if short in taken else short
    taken.add(short)
    return short
