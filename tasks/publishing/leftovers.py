"""What a run leaves behind if it dies between publishing and cleaning up."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tasks.planning.plan import Plan
from tasks.publishing.publish import REPLACED
from tasks.work import WorkFolder


def leftovers(work: WorkFolder, record: dict[str, Any]) -> list[Path]:
    """Files and folders that only the run of a published result needed.

    Blocks of an unfinished run with other parameters are not among them.

    Args:
        work: The item's folders.
        record: The published record.
    """
    if not work.root.is_dir():
        return []
    found = [*work.root.glob(".*.part")]
    if (work.root / REPLACED).exists():
        found.append(work.root / REPLACED)
    return found + [p for p in work.root.iterdir() if p.is_dir() and (p == work.scratch or _made(p, record))]


def remove_leftovers(paths: list[Path]) -> None:
    """Removes them; to be called by the item's owner."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _made(folder: Path, record: dict[str, Any]) -> bool:
    try:
        plan = Plan.load(folder / "plan.json")
    except FileNotFoundError:
        return True  # without its plan a folder is half removed, or half begun
    except (OSError, ValueError):
        return False
    stage = (record.get("region_of_interest") or {}).get("digest")
    if plan.bundle_digest == stage:
        return bool(plan.image_digest == record["input"]["digest"])
    return (plan.image_digest, plan.bundle_digest, plan.parameters.digest()) == (
        record["input"]["digest"],
        record["bundle"]["digest"],
        record["parameters_digest"],
    )
