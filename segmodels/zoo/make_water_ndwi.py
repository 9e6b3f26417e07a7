"""``python -m segmodels.zoo.make_water_ndwi [FOLDER]``: writes the shipped bundle ``water-ndwi``.

NDWI after McFeeters (1996), ``(green - nir) / (green + nir)``: water absorbs near infrared, so the
index is high over open water. On digital numbers of aerial images, bare soil and shores
rise above 0, so the threshold is higher than the 0 meant for reflectances.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from segmodels.bundles.bundle import Bundle
from segmodels.bundles.card import Card, ChannelCard, ClassCard, Training
from segmodels.bundles.write import write_bundle
from segmodels.methods.method import NormalisedDifference

METHOD = NormalisedDifference(a=1, b=3, threshold=0.15, sharpness=20.0)

CARD = Card(
    name="water-ndwi",
    version="1",
    description=(
        "Open water by the normalised difference index (green - nir) / (green + nir) > 0.15, per pixel. "
        "A baseline without training: deep shadow and dark roofs are mistaken for water, while turbid water, "
        "sun glint and water under plants are missed. "
        "No accuracy is claimed; adjust the threshold to the sensor."
    ),
    ndims=(2,),
    classes=(
        ClassCard(name="land", code=0, colour="#d9d3c3", region=False),
        ClassCard(name="water", code=1, colour="#1f78b4"),
    ),
    activation="sigmoid",
    channels=(
        ChannelCard(name="red", units="1", wavelength_nm=650, minimum=0, maximum=255),
        ChannelCard(name="green", units="1", wavelength_nm=560, minimum=0, maximum=255),
        ChannelCard(name="blue", units="1", wavelength_nm=470, minimum=0, maximum=255),
        ChannelCard(name="nir", units="1", wavelength_nm=840, minimum=0, maximum=255),
    ),
    tile=(512, 512),
    overlap=0.0,
    padding="edge",
    blend="crop",
    licence="Apache-2.0",
    training=Training(
        data="none: a fixed formula",
        command="python -m segmodels.zoo.make_water_ndwi",
        notes=(
            "The threshold is Otsu's, rounded, of the index over one NAIP scene of 4 September 2019 "
            "(prairie potholes, North Dakota), digital numbers as delivered. Other dates of the same place "
            "would take between -0.05 and 0.4."
        ),
    ),
)


def make(folder: Path) -> Bundle:
    """Writes the bundle; the golden input covers the range of both bands, zeros included."""
    i = np.arange(16 * 16, dtype=np.float32).reshape(16, 16)
    golden = np.stack([i, i.T, i[::-1], np.float32(255) - i], axis=-1)[None]
    return write_bundle(
        folder, card=CARD, method=METHOD, golden_input=np.ascontiguousarray(golden), overwrite=True
    )


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "water-ndwi"
    made = make(target)
    print(f"{made.card.name} {made.digest}")
