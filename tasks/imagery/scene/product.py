"""What a scene is, whoever delivered it: layers that may be channels, and files that say what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.imagery.bands import Band


@dataclass(frozen=True)
class Layer:
    """One band and where its pixels are.

    Attributes:
        band: What is known of it.
        uri: Its file or address.
        channel: Which channel of that file, from 0; None where it must hold one.
        fill: The stored number that means no data by the product's definition, besides what the file says.
    """

    band: Band
    uri: str
    channel: int | None = None
    fill: float | None = None


@dataclass(frozen=True)
class Scene:
    """Layers of one place and time.

    Attributes:
        label: For sentences.
        layers: In the product's order.
        beside: Files that say which pixels were observed, by the name of the rule that reads them.
        notes: Sentences a user should see.
        named: Whether the user gave each file its channel, as ``CHANNEL=FILE``.
    """

    label: str
    layers: tuple[Layer, ...]
    beside: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    named: bool = False
