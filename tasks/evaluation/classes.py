"""Which classes a mask speaks of: named by the user, by the run that made it, or found in the files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from segmodels.bundles.card import RESERVED_UINT16, ClassCard
from tasks.codes import SPECIAL, special_codes
from tasks.errors import UsageError
from tasks.publishing.publish import RECORD

#: Colours of classes that nobody gave one.
PALETTE = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#eeca3b", "#9d755d", "#ff9da6", "#79706e",
)  # fmt: skip
#: Codes looked for where no classes are known.
FOUND = tuple(range(special_codes(wide=False)["unobserved"]))
#: Code → name of pixels without a class, in masks of 8 and of 16 bits.
MISSING = {code: name for wide in (False, True) for name, code in special_codes(wide=wide).items()}
#: Columns of a confusion table after its classes.
OUTSIDE = (*SPECIAL, "other")


def parse_classes(text: str) -> tuple[ClassCard, ...]:
    """``"0=background,1=water"``; names may be left out.

    Raises:
        UsageError: Anything else, or fewer than two classes.
    """
    found: dict[int, str] = {}
    for part in text.split(","):
        code, _, name = part.strip().partition("=")
        if not code.strip().isdigit() or int(code) >= RESERVED_UINT16 or int(code) in found:
            raise UsageError(f'--classes {text!r}: write codes and names as "0=background,1=water"')
        found[int(code)] = name.strip()
    if len(found) < 2:
        raise UsageError(f"--classes {text!r} names one class; a score needs at least two")
    return named(found)


def named(names: dict[int, str]) -> tuple[ClassCard, ...]:
    """Classes in the order of their codes; code 0 is taken for a background, whose surface nobody asks about."""
    return tuple(
        ClassCard(
            name=names[code] or f"class {code}",
            code=code,
            colour="#c9ced6" if code == 0 else PALETTE[(code - 1) % len(PALETTE)],
            region=code != 0,
        )
        for code in sorted(names)
    )


def recorded_classes(mask: Path) -> tuple[ClassCard, ...] | None:
    """The classes of the run that wrote a mask, if its record lies beside it."""
    try:
        record = json.loads((mask.parent / RECORD).read_bytes())
        return tuple(ClassCard(**c) for c in record["bundle"]["classes"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def missing_codes(classes: Sequence[int]) -> tuple[int, ...]:
    """Codes of a prediction without a class, except those that a class has."""
    return tuple(code for code in MISSING if code not in classes)
