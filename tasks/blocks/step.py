"""The block step: what one task run does, in whatever process it runs."""

from __future__ import annotations

from collections.abc import Callable

from tasks.blocks.segment import BlockOutcome, segment_block
from tasks.blocks.session import open_session
from tasks.blocks.stepdown import leave_notes
from tasks.crash import crash_point
from tasks.work import WorkFolder


def run_block(
    work: WorkFolder, number: int, *, on_tiles: Callable[[int], None] | None = None
) -> BlockOutcome:
    """Segments one block of a planned item and leaves its file.

    Raises:
        OutputError: Its file cannot be written.
        ModelError: The engine cannot be used.
    """
    crash_point(f"segmenting block-{number:08d}")
    session = open_session(work.plan, scratch=work.scratch)
    outcome = segment_block(
        session.plan,
        number,
        image=session.image,
        engine=session.engine,
        directory=work.blocks,
        on_tiles=on_tiles,
    )
    leave_notes(work.run, session.engine)
    return outcome
