"""From a mask on disk to files of polygons, with the sums that prove them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tasks.errors import OutputError
from tasks.files import fsync_directory, writing
from tasks.imagery.earth.areas import pixel_areas
from tasks.imagery.protocol import ImageInfo
from tasks.planning.outputs import Outputs, Vectors
from tasks.vectors.files import write_file
from tasks.vectors.geojson import check_crs
from tasks.vectors.mask import Meaning, bands
from tasks.vectors.shapes import Shapes, corners, shapes
from tasks.vectors.simplify import Simplifier
from tasks.vectors.sizes import Sizes
from tasks.vectors.tracer import Traced, Tracer
from tasks.vectors.wkb import to_wkb

if TYPE_CHECKING:
    import pyarrow as pa


def make_polygons(
    mask: Path,
    info: ImageInfo,
    meaning: Meaning,
    targets: Mapping[Vectors, Path],
    *,
    outputs: Outputs,
    table: pa.Table | None = None,
) -> dict[str, Any]:
    """Polygonises a mask and writes every file that is asked for; none appears half written.

    Args:
        mask: The file.
        info: Its grid.
        meaning: Whose regions, and what touches.
        targets: Final path by format.
        outputs: Tolerance and least size.
        table: Attributes by region id, from the run that measured them; they are checked against what was
            traced. None: what the mask alone tells.

    Returns:
        For the record: regions, polygons written, and per class the pixels that they cover.

    Raises:
        UsageError: GeoJSON of a raster without CRS.
        OutputError: A file cannot be written, or the polygons do not match the table.
    """
    if "geojson" in targets:
        check_crs(info)
    folder = next(iter(targets.values())).parent
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".polygons-", dir=folder))
    try:
        traced = trace(
            mask, info, meaning, noded=outputs.simplify > 0, file=scratch / "rings", measure=table is None
        )
        attributes = _own_table(traced, info, meaning) if table is None else _given(traced, table, mask)
        keep = traced.pixels >= outputs.min_size
        simplifier = _simplifier(traced, keep, info, outputs.simplify)
        for kind, path in targets.items():
            groups = _groups(traced, info, attributes, keep, simplifier)
            part = scratch / path.name
            write_file(part, kind, groups, schema=attributes.schema, info=info)
            with writing(path):
                part.replace(path)
                fsync_directory(folder)
        return _account(traced, meaning, keep, outputs)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def trace(mask: Path, info: ImageInfo, meaning: Meaning, *, noded: bool, file: Path, measure: bool) -> Traced:
    """Traces a whole mask from its file."""
    height, width = info.shape
    tracer = Tracer(
        width,
        codes=tuple(meaning.names),
        full=meaning.full,
        wraps=info.wraps[-1],
        noded=noded,
        file=file,
    )
    try:
        sizes = Sizes(pixel_areas(info), width) if measure and info.grid["crs"] else None
        seen = 0
        for band in bands(mask):
            step = len(band) if sizes is None else sizes.step
            for start in range(0, len(band), step):
                lines = band[start : start + step]
                of = None if sizes is None else sizes.of(seen, len(lines))
                seen += len(lines)
                tracer.feed(lines, of, last=seen == height)
        return tracer.finish()
    except BaseException:
        tracer.abort()
        raise


def _own_table(traced: Traced, info: ImageInfo, meaning: Meaning) -> pa.Table:
    import pyarrow as pa

    names = np.array([meaning.names[c] for c in sorted(meaning.names)], dtype=object)
    columns: dict[str, Any] = {
        "id": np.arange(1, traced.code.size + 1),
        "class": pa.array(names[np.searchsorted(sorted(meaning.names), traced.code)], pa.string()),
        "code": traced.code.astype(np.int32),
        "pixels": traced.pixels,
    }
    if info.grid["crs"]:
        columns["area_m2"] = traced.size
    return pa.table(columns)


def _given(traced: Traced, table: pa.Table, mask: Path) -> pa.Table:
    """The run's own figures, if every region is the same."""
    same = len(table) == traced.code.size and all(
        np.array_equal(table[name].to_numpy(), values)
        for name, values in (("code", traced.code), ("pixels", traced.pixels))
    )
    if not same:
        raise OutputError(
            f"the polygons of {mask} are not the regions of its table ({traced.code.size} and {len(table)}): "
            "one of both files was changed; run again with --force"
        )
    wanted = ("id", "class", "code", "pixels", "area_m2", "mean_confidence", "touches_border")
    return table.select([c for c in wanted if c in table.column_names]).replace_schema_metadata(None)


def _groups(
    traced: Traced,
    info: ImageInfo,
    table: pa.Table,
    keep: npt.NDArray[np.bool_],
    simplifier: Simplifier | None,
) -> Iterator[tuple[Shapes, pa.Table]]:
    for group in shapes(traced, transform=info.grid["transform"], keep=keep, simplifier=simplifier):
        yield group, table.take(group.regions)


def _simplifier(
    traced: Traced, keep: npt.NDArray[np.bool_], info: ImageInfo, tolerance: float
) -> Simplifier | None:
    """Simplifies as far as every polygon stays valid: borders of those that would not keep all vertices."""
    if not tolerance:
        return None
    import shapely

    simplifier = Simplifier(tolerance, width=info.shape[1])
    plain = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    while True:
        bad = []
        groups = shapes(traced, transform=plain, keep=keep, simplifier=simplifier)
        for group, (_, rings, vertices, lengths) in zip(groups, corners(traced, keep=keep), strict=True):
            broken = np.diff(group.ends) < 4
            wrong = np.logical_or.reduceat(broken, group.first[:-1])
            whole = np.flatnonzero(~wrong)
            if whole.size:
                wrong[whole] = ~shapely.is_valid(
                    shapely.from_wkb(to_wkb(group).to_numpy(zero_copy_only=False)[whole])
                )
            if wrong.any():
                of_vertex = np.repeat(traced.region[rings], lengths)
                hit = np.isin(traced.region[rings], group.regions[wrong])
                bad.append(
                    simplifier.borders(vertices[np.isin(of_vertex, group.regions[wrong])], lengths[hit])
                )
        if not bad or not simplifier.fix(bad):
            return simplifier


def _account(
    traced: Traced, meaning: Meaning, keep: npt.NDArray[np.bool_], outputs: Outputs
) -> dict[str, Any]:
    """Per class: pixels of the mask, pixels in polygons, regions and polygons.

    Raises:
        OutputError: All polygons of a class, small ones included, do not cover its pixels.
    """
    classes = []
    for code, name in sorted(meaning.names.items()):
        of = traced.code == code
        pixels, covered = int(traced.code_pixels[code]), int(traced.pixels[of].sum())
        if pixels != covered:
            raise OutputError(
                f"polygons of {name} cover {covered} pixels of {pixels}: this is a fault of segflow"
            )
        classes.append(
            {
                "code": code,
                "name": name,
                "pixels": pixels,
                "regions": int(of.sum()),
                "polygons": int((of & keep).sum()),
                "pixels_in_polygons": int(traced.pixels[of & keep].sum()),
            }
        )
    return {
        "connectivity": "full" if meaning.full else "face",
        "simplify": outputs.simplify,
        "min_size": outputs.min_size,
        "formats": sorted(outputs.vectors),
        "regions": int(traced.code.size),
        "polygons": int(keep.sum()),
        "classes": classes,
    }
