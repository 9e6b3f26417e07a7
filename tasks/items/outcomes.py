"""What became of the items of a batch: told, counted, kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tasks.files import atomic_write, writing

#: Beside the items' folders: the last batch's outcomes.
OUTCOMES = "batch.json"
Status = Literal["done", "partial", "suspect", "failed", "incomplete"]


@dataclass(frozen=True)
class Outcome:
    """One item of a batch.

    Attributes:
        item: Its id, which is its folder's name.
        status: What its record says; *failed* and *incomplete* items have none.
        reason: Why it failed, or what it lacks.
        seconds: Wall time.
        already_done: Nothing had to be computed.
    """

    item: str
    status: Status
    reason: str = ""
    seconds: float = 0.0
    already_done: bool = False


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """0 all done, 4 one is partial, failed or incomplete, 5 one is suspect."""
    found = {o.status for o in outcomes}
    if found & {"partial", "failed", "incomplete"}:
        return 4
    return 5 if "suspect" in found else 0


def count(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many items of each status, the best first."""
    counted = Counter(o.status for o in outcomes)
    return {s: counted[s] for s in ("done", "suspect", "partial", "failed", "incomplete") if counted[s]}


def as_json(outcomes: tuple[Outcome, ...]) -> dict[str, Any]:
    """JSON-able."""
    return {
        "status": {0: "done", 4: "partial", 5: "suspect"}[exit_code(outcomes)],
        "count": count(outcomes),
        "items": [asdict(o) for o in outcomes],
    }


def write_outcomes(folder: Path, outcomes: tuple[Outcome, ...]) -> None:
    """Writes ``batch.json``, atomically.

    Raises:
        OutputError: It cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / OUTCOMES) as stream:
        stream.write(json.dumps(as_json(outcomes), indent=1).encode())
