"""What an unfinished run of the same item began with, so that a resume goes on with the very same.

What ``auto`` means is measured, and a layout depends on the free disk: asked again, a near tie or a
fuller disk would answer otherwise, and every finished block would be computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.planning.plan import Parameters, Plan
from tasks.tiling.area import Area


@dataclass(frozen=True)
class Begun:
    """An unfinished run.

    Attributes:
        plan: Its plan.
        blocks: Block files that it left; at least one.
    """

    plan: Plan
    blocks: int


def find_begun(
    root: Path, *, image_digest: str, bundle_digest: str, parameters: Parameters, area: Area | None
) -> Begun | None:
    """The unfinished run of the same image, bundle, parameters and area that left most blocks.

    Args:
        root: The item's work folder, there or not.
        image_digest: Of the input's content.
        bundle_digest: Of the bundle.
        parameters: As asked for now.
        area: Of a preview.
    """
    same = (image_digest, bundle_digest, parameters.digest(), area and area.digest)
    found = []
    for file in sorted(root.glob("*/plan.json")):
        blocks = len(list(file.parent.glob("blocks/*.blk")))
        plan = _load(file) if blocks else None
        if plan is None:
            continue
        its = plan.image_digest, plan.bundle_digest, plan.parameters.digest(), plan.area and plan.area.digest
        if its == same and plan.key() == file.parent.name:
            found.append(Begun(plan, blocks))
    return max(found, key=lambda b: b.blocks, default=None)


def _load(file: Path) -> Plan | None:
    """None for a plan of another version, whose blocks are of no use."""
    try:
        return Plan.load(file)
    except (OSError, ValueError):
        return None
