"""Opening a scene: its bands are chosen by what is known of them, and only those are opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tasks.errors import InputError
from tasks.imagery.bands import is_colour, plain
from tasks.imagery.protocol import Image
from tasks.imagery.scene.choice import choose, listed
from tasks.imagery.scene.find import find_scene
from tasks.imagery.scene.grids import common_grid
from tasks.imagery.scene.product import Layer, Scene
from tasks.imagery.scene.stack import StackedImage, stack_info
from tasks.imagery.source import Source
from tasks.imagery.views.enlarged import EnlargedImage
from tasks.imagery.wanted import Reading, Wanted


def open_scene(source: Source, *, scratch: Path, wanted: Wanted) -> Image:
    """Opens a product's folder, a STAC item or several files; see ``tasks.imagery.formats.Format``.

    Raises:
        InputError: A band is missing or damaged, or their grids cannot be brought together.
    """
    scene = find_scene(source)
    layers = _chosen(scene, wanted)
    images: list[Image] = []
    try:
        for layer in layers:
            images.append(_open(layer, scratch=scratch, wanted=wanted))
        return _stacked(scene, layers, images, source=source, wanted=wanted)
    except BaseException:
        for image in images:
            image.close()
        raise


def _chosen(scene: Scene, wanted: Wanted) -> tuple[Layer, ...]:
    bands = [layer.band for layer in scene.layers]
    chosen = choose(bands, wanted, label=scene.label)
    if chosen is not None:
        left_out = [b for i, b in enumerate(bands) if i not in chosen]
        if scene.named and left_out and not wanted.reading.bands:
            raise InputError(
                f"{listed(left_out)} is no channel of the model, which wants {_names(wanted)}: leave the file out, or "
                "name the channel that it is"
            )
        return tuple(scene.layers[i] for i in chosen)
    meant = any(is_colour(c.name) or c.wavelength_nm for c in wanted.channels)
    if scene.named and wanted.channels and (meant or len(bands) != len(wanted.channels)):
        raise InputError(
            f"{scene.label} names the channels {listed(bands)}, and the model wants {_names(wanted)}: name them so"
        )
    number = wanted.number
    if number is not None and number != len(bands):
        raise InputError(
            f"{scene.label} has {len(bands)} bands ({listed(bands)}) and the model wants {number}"
            f"{f' ({_names(wanted)})' if wanted.channels else ''}: say with --bands which are its channels"
        )
    return scene.layers


def _names(wanted: Wanted) -> str:
    return ", ".join(c.name for c in wanted.channels)


def _open(layer: Layer, *, scratch: Path, wanted: Wanted) -> Image:
    from tasks.imagery.open import open_image

    # What a product says of its scale stands above what its files say.
    units = "stored" if layer.band.scaling is not None else wanted.reading.units
    only = () if layer.channel is None else (str(layer.channel + 1),)
    image = open_image(layer.uri, scratch=scratch, wanted=Wanted(reading=Reading(bands=only, units=units)))
    info = image.info
    if info.kind == "raster" and len(info.channels) == 1:
        return image
    image.close()
    if info.kind != "raster":
        raise InputError(f"{layer.uri} is no raster and cannot be a band of a scene: give rasters")
    raise InputError(
        f"{layer.uri} has {len(info.channels)} bands ({', '.join(info.channels)}) and one is needed of each of several "
        "files: give it alone, with --bands, or split it with gdal_translate -b"
    )


def _stacked(
    scene: Scene, layers: tuple[Layer, ...], images: list[Image], *, source: Source, wanted: Wanted
) -> Image:
    names = [layer.band.name for layer in layers]
    grid = common_grid([i.info for i in images], names)
    notes = list(scene.notes)
    fine = images[grid.finest].info
    if not grid.same:
        coarse = [(n, f) for n, f in zip(names, grid.factors, strict=True) if f != (1, 1)]
        said = ", ".join(f"{n} ({max(f)} times)" for n, f in coarse)
        if wanted.resampling is None:
            raise InputError(
                f"{scene.label}: the pixels of {said} are larger than those of {names[grid.finest]}, and the model's "
                "card does not allow bands to be resampled (band_resampling): name bands of one size with --bands, or "
                "bring them to one grid with gdalwarp -tr … -tap first"
            )
        notes.append(
            f"Larger pixels are resampled ({wanted.resampling}) to those of {names[grid.finest]}: {said}."
        )
    shape = (fine.shape[0], fine.shape[1])
    placed: list[Image] = [
        image
        if f == (1, 1) or wanted.resampling is None
        else EnlargedImage(image, f, shape, wanted.resampling)
        for image, f in zip(images, grid.factors, strict=True)
    ]
    fills = [layer.fill for layer in layers]
    bands = [replace(layer.band, file=layer.uri) for layer in layers]
    if wanted.channels:
        pairs = [(c.name, b.name) for c, b in zip(wanted.channels, bands, strict=False)]
        other = [f"{c} ← {b}" for c, b in pairs if plain(c) != plain(b)]
        notes += [f"Channels are bands: {', '.join(other)}."] if other else []
    info = stack_info(placed, bands, fills, source=source, finest=grid.finest, notes=tuple(notes))
    return StackedImage(placed, fills, info)
