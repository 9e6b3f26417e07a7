"""Why values may lie outside the range that a card expects, as far as the numbers show it."""

from __future__ import annotations

from segmodels.bundles.card import ChannelCard

#: No reflectance is larger than this, and no digital numbers are all smaller.
_REFLECTANCE = 5.0
_EIGHT_BITS = 255
#: Where air is in CT, and where it is in stored numbers without their intercept.
_AIR = -500.0


def probable_cause(channel: ChannelCard, low: float, high: float) -> str:
    """What to check, in words for the end of a sentence.

    Args:
        channel: What the card expects.
        low: The image's lowest values (1st percentile).
        high: Its highest (99th).
    """
    least, most = channel.minimum, channel.maximum
    if (channel.units or "").upper() == "HU" and least is not None and least <= _AIR and low >= 0:
        return (
            "these look like stored numbers without the rescale intercept; apply it to have Hounsfield units"
        )
    if most is not None and most <= _REFLECTANCE < high:
        return (
            "these look like digital numbers; name the scene's folder, whose metadata says how they become physical "
            "values, or an image in these units"
        )
    if most is not None and most > 10 * _REFLECTANCE and high <= _REFLECTANCE and low < high:
        return "these look like reflectances and the model was made for digital numbers; try --stored-units"
    if (
        most is not None
        and most <= _REFLECTANCE
        and high <= most
        and least is not None
        and least - 0.25 < low < least
    ):
        return "these look like reflectances whose offset was subtracted twice, or darker than any ground"
    if most is not None and _REFLECTANCE < most <= _EIGHT_BITS < high:
        return "these are numbers of more than eight bits and the model was made for those of eight; rescale the image"
    return "check bands and units"
