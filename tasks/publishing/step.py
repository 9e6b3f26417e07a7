"""The publish step: the result folder takes its final name, work files go."""

from __future__ import annotations

from typing import Any

from tasks.publishing.publish import publish, remove_work
from tasks.work import WorkFolder


def publish_item(work: WorkFolder, record: dict[str, Any]) -> None:
    """Publishes a complete result.

    Raises:
        OutputError: The final folder cannot be written.
    """
    publish(work.result, work.final, record=record)
    remove_work(work.root)
