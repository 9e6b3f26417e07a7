"""``plan_image``: what a run would do and cost, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.planning.priced import PricedPlan


def plan_image(image: str | Path, model: str | Path, out: str | Path = ".", **options: Any) -> PricedPlan:
    """Plans a run and prices it; nothing is left on the disk.

    Takes the options of ``segment_image`` and makes the same plan from them; ``force`` and
    ``command`` say nothing here.

    Args:
        image: A GeoTIFF or NIfTI file.
        model: A bundle's folder, or the name of a shipped bundle.
        out: Where the run would write: its disk is looked at.

    Returns:
        ``plan`` is what ``segment_image`` would execute; ``as_json()`` what ``segflow plan --json`` prints.

    Raises:
        SegflowError, ModelError: One sentence with the remedy.
    """
    from flows.environment import prepare_environment
    from flows.private import privatised_nowhere
    from flows.request import make_request
    from tasks.planning.priced import price_item

    prepare_environment()
    asked = {"image": str(image), "model": str(model), "out": Path(out), **options}
    with privatised_nowhere(asked) as asked:
        return price_item(make_request(**asked))
