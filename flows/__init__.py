"""Prefect flows, and the ``segflow`` command line.

``from flows import segment_image, plan_image`` gives a flow and its plan; nothing heavy is imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.image import segment_image
    from flows.plan import plan_image
    from flows.segment_batch import segment_batch

__all__ = ["segment_image", "segment_batch", "plan_image"]


def __getattr__(name: str) -> Any:
    if name == "segment_image":
        from flows.image import segment_image

        return segment_image
    if name == "plan_image":
        from flows.plan import plan_image

        return plan_image
    if name == "segment_batch":
        from flows.segment_batch import segment_batch

        return segment_batch
    raise AttributeError(f"module 'flows' has no attribute {name!r}")
