"""Layouts are chosen by price within limits, and refused with a setting that fits."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from segmodels.bundles.card import Card, ChannelCard, ClassCard
from tasks.errors import InputError, UsageError
from tasks.imagery.protocol import ImageInfo
from tasks.imagery.source import Source
from tasks.planning.amount import parse_bytes
from tasks.planning.budget import stored_bytes
from tasks.planning.fitting import FitError, fit
from tasks.planning.layout import Limits, Wish
from tasks.planning.plan import Parameters
from tasks.planning.tiles import blind_tiles, choose_tiles

GIB = 1 << 30


def volume(shape=(824, 512, 512), dtype="int16"):
    return ImageInfo(
        source=Source.of(Path("ct.nii")), format="nifti", kind="volume", field="medical", shape=shape, axes=("z", "y", "x"), channels=("ct",),
        dtype=dtype, wraps=(False,) * 3, chunk=(1, 1, shape[-1]), nodata=None, grid={},
    )  # fmt: skip


def raster(size=40_000, channels=3):
    return ImageInfo(
        source=Source.of(Path("scene.tif")), format="geotiff", kind="raster", field="earth", shape=(size, size), axes=("y", "x"),
        channels=tuple(f"b{i}" for i in range(channels)), dtype="uint8", wraps=(False, False), chunk=(512, 512),
        nodata=None, grid={},
    )  # fmt: skip


def card(classes=117, *, ndim=3, channels=1, tile=(96, 96, 96), overlap=0.5, **fields):
    return Card(
        name="organs",
        ndims=(ndim,),
        classes=tuple(ClassCard(name=f"c{i}", code=i, colour="#000000") for i in range(classes)),
        channels=tuple(ChannelCard(name=f"c{i}") for i in range(channels)),
        tile=tile,
        overlap=overlap,
        stride=fields.pop("stride", 16),
        **fields,
    )


def lay(info, model, *, memory=8 * GIB, disk=20 * 10**9, asked=None, **wish):
    limits = Limits(memory, disk)
    wish["memory"] = asked
    return fit(info, model, Wish(Parameters(), **wish), model_ndim=len(model.tile), limits=limits)


def test_117_classes_of_a_ct_fit_by_computing_border_tiles_again():
    layout = lay(volume(), card(), memory=8 * GIB, workers=1)
    assert layout.needs.memory <= 8 * GIB
    assert layout.needs.disk <= 20 * 10**9
    assert layout.grid.borders == "recomputed"
    assert layout.grid.computed_count > layout.grid.tile_count
    assert any("compute the tiles at their borders again" in n for n in layout.notes)
    plenty = lay(volume(), card(), memory=8 * GIB, disk=10**13, workers=1)
    assert plenty.grid.borders == "stored"
    assert plenty.grid.computed_count == plenty.grid.tile_count
    assert stored_bytes(plenty.grid, plenty.quantisation) > 20 * 10**9


def test_few_classes_store_their_borders_and_repeat_nothing():
    for layout in (
        lay(volume(), card(8)),
        lay(raster(), card(8, ndim=2, channels=3, tile=(512, 512), overlap=0.25), disk=10**12),
    ):
        assert layout.grid.borders == "stored"
        assert layout.grid.computed_count == layout.grid.tile_count


def test_crop_needs_no_sums_for_the_stitch_and_repeats_nothing():
    layout = lay(volume(), card(blend="crop"), memory=4 * GIB, workers=1)
    assert layout.grid.borders == "none"
    assert layout.grid.computed_count == layout.grid.tile_count
    assert stored_bytes(layout.grid, layout.quantisation) == 0
    # Codes and confidence of every voxel, the mask before and after compression.
    assert layout.needs.disk == 4 * math.prod(volume().shape)


@pytest.mark.parametrize(
    ("memory", "disk", "wish"),
    [
        (4 * GIB, 20 * 10**9, {}),
        (3 * GIB, 20 * 10**9, {"workers": 1}),
        (2 * GIB, 20 * 10**9, {"asked": 2 * GIB}),
        (6 * GIB, 20 * 10**9, {"block": 4096, "workers": 1}),
    ],
)
def test_what_cannot_fit_is_refused_with_a_setting_that_fits(memory, disk, wish):
    model, info = card(), volume()
    with pytest.raises(FitError) as refused:
        lay(info, model, memory=memory, disk=disk, **wish)
    assert isinstance(refused.value, InputError)
    assert refused.value.exit_code == 3
    options = shlex.split(refused.value.setting)
    assert options
    assert refused.value.setting in str(refused.value)
    wish["memory"] = wish.pop("asked", None)
    asked = Wish(Parameters(), **wish)
    for name, value in zip(options[::2], options[1::2], strict=True):
        match name:
            case "--block" | "--workers":
                asked = replace(asked, **{name[2:]: int(value)})
            case "--memory":
                asked = replace(asked, memory=parse_bytes(value))
                memory = parse_bytes(value)
            case "--tile":
                tile = tuple(map(int, value.split(",")))
                asked = replace(asked, parameters=asked.parameters.model_copy(update={"tile": tile}))
            case _:
                value = float(value) if name == "--overlap" else value
                asked = replace(asked, parameters=asked.parameters.model_copy(update={name[2:]: value}))
    layout = fit(info, model, asked, model_ndim=3, limits=Limits(memory, disk))
    assert layout.needs.memory <= memory
    assert layout.needs.disk <= disk


def test_where_nothing_helps_no_setting_is_named():
    with pytest.raises(FitError, match="use a machine") as refused:
        lay(volume(), card(), memory=GIB // 4, disk=10**6)
    assert refused.value.setting == ""


def test_memory_lowers_what_runs_at_once_and_nothing_that_the_mask_depends_on():
    model = card(3, ndim=2, channels=3, tile=(512, 512), overlap=0.25)
    free = lay(raster(), model, memory=64 * GIB, disk=10**12, workers=8)
    limits = Limits(int(1.75 * GIB), 10**12)
    wish = Wish(Parameters(), workers=8, memory=limits.memory)
    tight = fit(raster(), model, wish, model_ndim=2, limits=limits)
    assert tight.needs.memory <= 1.75 * GIB < free.needs.memory
    assert (tight.grid.axes, tight.batch, tight.blend, tight.quantisation) == (
        free.grid.axes,
        free.batch,
        free.blend,
        free.quantisation,
    )
    assert tight.workers < 8 or tight.grid.block != free.grid.block


def test_memory_does_not_grow_with_the_image():
    model = card(2, ndim=2, channels=3, tile=(512, 512), overlap=0.25, activation="sigmoid")
    small, large = (lay(raster(n), model, disk=10**13).needs for n in (10_000, 40_000))
    assert large.memory <= 1.05 * small.memory


@pytest.mark.parametrize(
    ("text", "value"),
    [("2GB", 2 * 10**9), ("2GiB", 2 << 30), ("1500MB", 1_500_000_000), ("1.5 gb", 1_500_000_000), ("512MiB", 512 << 20)],
)  # fmt: skip
def test_amounts(text, value):
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["", "2", "-2GB", "0GB", "2 apples", "GB", "1e3MB"])
def test_what_is_no_amount(text):
    with pytest.raises(UsageError, match="write it as 2GB"):
        parse_bytes(text)


def test_overlap_comes_from_the_option_then_the_card_then_the_receptive_field():
    asked = Parameters(overlap=0.25)
    known = {"receptive_radius": (20, 9, 40), "tile": (96, 96, 96)}
    for parameters, overlap, source, expected in (
        (asked, 0.5, "option", (32, 32, 32)),
        (Parameters(), 0.5, "card", (48, 48, 48)),
        # 20 and 9 are rounded up to the stride 16; 40 would be 48, more than a quarter of 96, 24, whose
        # largest multiple of the stride is 16.
        (Parameters(), None, "receptive field", (16, 16, 16)),
    ):
        chosen = choose_tiles(card(overlap=overlap, **known), 3, parameters)
        assert (chosen.source, chosen.overlap) == (source, expected)
    capped = choose_tiles(card(overlap=None, **known), 3, Parameters())
    assert len(capped.notes) == 1
    assert "more than a quarter of a tile" in capped.notes[0]
    free = choose_tiles(card(overlap=None, receptive_radius=(20, 9, 30), tile=(128,) * 3), 3, Parameters())
    assert (free.overlap, free.notes) == ((32, 16, 32), ())
    unknown = choose_tiles(card(overlap=None), 3, Parameters())
    assert (unknown.source, unknown.overlap) == ("default", (32, 32, 32))


def test_a_resume_keeps_the_layout_of_its_blocks_whatever_the_disk_says_now():
    short, ample = 5 * 10**9, 500 * 10**9
    begun = lay(volume(), card(20), memory=32 * GIB, disk=short, workers=1)
    free = lay(volume(), card(20), memory=32 * GIB, disk=ample, workers=1)
    assert (begun.grid.borders, free.grid.borders) == ("recomputed", "stored")
    assert lay(volume(), card(20), memory=32 * GIB, disk=ample, workers=1, keep=begun.grid).grid == begun.grid
    again = lay(volume(), card(20), memory=32 * GIB, disk=ample, workers=1, keep=free.grid)
    assert again.grid == free.grid
    assert not any("unfinished" in note for note in again.notes)


def test_a_layout_that_does_not_fit_any_more_is_given_up_and_said():
    free = lay(volume(), card(20), memory=32 * GIB, disk=500 * 10**9, workers=1)
    now = lay(volume(), card(20), memory=32 * GIB, disk=5 * 10**9, workers=1, keep=free.grid)
    assert now.grid == lay(volume(), card(20), memory=32 * GIB, disk=5 * 10**9, workers=1).grid
    assert "unfinished run" in now.notes[-1]


def test_blocks_asked_for_win_over_those_of_an_unfinished_run():
    begun = lay(raster(), card(3, ndim=2, channels=3, tile=(512, 512)), block=2000)
    same = lay(raster(), card(3, ndim=2, channels=3, tile=(512, 512)), block=2000, keep=begun.grid)
    assert same.grid == begun.grid
    other = lay(raster(), card(3, ndim=2, channels=3, tile=(512, 512)), block=1000, keep=begun.grid)
    assert other.grid.block != begun.grid.block
    assert "unfinished run" in other.notes[-1]


@pytest.mark.parametrize(
    ("tile", "radius", "noted", "blind"),
    [
        ((96, 96, 96), (9, 6, 9), False, False),
        ((128, 96, 96), (9, 6, 9), False, False),
        ((32, 32, 32), (9, 6, 9), True, False),
        ((16, 96, 96), (9, 6, 9), True, True),
        ((96, 16, 96), (9, 6, 9), True, False),
        ((16, 16, 16), (0, 0, 0), False, False),  # it looks at each pixel alone
        ((16, 16, 16), None, True, False),
        ((80, 80, 80), (60, 60, 60), True, False),  # nor do the card's own tiles hold that
    ],
)
def test_tiles_that_see_too_little_are_said(tile, radius, noted, blind):
    model = card(3, receptive_radius=radius)
    notes = choose_tiles(model, 3, Parameters(tile=tile)).notes
    assert any("smaller than the 96×96×96" in note for note in notes) == noted
    assert bool(blind_tiles(model, tile)) == blind
