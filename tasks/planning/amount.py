"""Amounts of memory and disk, as people write them."""

from __future__ import annotations

import re

from tasks.errors import UsageError

_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_bytes(text: str, *, option: str = "--memory") -> int:
    """Bytes of ``2GB``, ``2GiB``, ``1500MB`` or ``1.5 GB``.

    Raises:
        UsageError: Anything else, or nothing at all.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])(i?)b?\s*", text, re.IGNORECASE)
    if found is None or not float(found[1]):
        raise UsageError(f"{option} {text} is not an amount: write it as 2GB, 2GiB or 1500MB")
    unit = found[2].upper()
    return int(float(found[1]) * (_BINARY[unit] if found[3] else _UNITS[unit]))


def say_bytes(n: int) -> str:
    """``1.5 GB``, ``320 MB``."""
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"
