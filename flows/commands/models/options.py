"""Options that the commands of ``segflow models`` share, and words for their tables."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def by(sizes: tuple[int, ...]) -> str:
    """``64×128``."""
    return "×".join(map(str, sizes))
