"""The part of an image that a run sees: found on its grid, and opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import InputError
from tasks.imagery.protocol import Image, ImageInfo, Window
from tasks.imagery.views.crop import CroppedImage
from tasks.planning.opened import open_native
from tasks.previews.aoi import locate_aoi
from tasks.previews.window import locate_window
from tasks.publishing.publish import RECORD, read_record
from tasks.tiling.area import Area, whole_window

if TYPE_CHECKING:
    from tasks.planning.plan import Plan
    from tasks.planning.request import Request


def check_same_extent(request: Request, folder: Path) -> None:
    """Refuses an item that would replace a whole image's result by a preview.

    Raises:
        InputError: The item named holds one.
    """
    held = read_record(folder / RECORD)
    if request.parameters.preview and held is not None and not held.get("preview"):
        raise InputError(
            f"{folder} holds the result of the whole image, which a preview would replace: give another --item"
        )


def find_area(request: Request, info: ImageInfo) -> Area | None:
    """The area that a request names, on the image's grid; None for all of it.

    Raises:
        InputError: It does not meet the image, or its file is refused.
        UsageError: A window of another kind of image.
        OutputError: Its bitmap cannot be written.
    """
    if request.aoi is not None:
        return locate_aoi(request.aoi, info, folder=request.work().scratch / "area")
    if request.parameters.window is not None:
        return whole_window(*locate_window(request.parameters.window, info))
    return None


def area_window(area: Area) -> Window:
    """The area's window as slices of the image."""
    return tuple(slice(a, h) for a, h in zip(area.low, area.high, strict=True))


def open_seen(plan: Plan, *, scratch: Path) -> Image:
    """Opens a plan's image, for all that comes after the blocks: of a preview, its window.

    Raises:
        InputError: It cannot be opened any more.
    """
    image = open_native(plan, scratch=scratch)
    return image if plan.area is None else CroppedImage(image, area_window(plan.area))
