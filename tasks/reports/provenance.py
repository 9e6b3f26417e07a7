"""What decided the result, in words: input, model, parameters and the run itself."""

from __future__ import annotations

import math
from typing import Any

from tasks.imagery.open import crs_unit
from tasks.planning.plan import Parameters
from tasks.reports import words


def provenance(record: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """Titled groups of (name, value, whether the value is a code or digest).

    Args:
        record: What ``run.json`` will hold.
    """
    source, bundle, engine, plan = record["input"], record["bundle"], record["engine"], record["plan"]
    shape = " × ".join(f"{n:,}" for n in source["shape"])
    nodata = source["nodata"]
    groups: list[tuple[str, list[tuple[str, Any, bool]]]] = [
        (
            "Input",
            [
                ("File", source["path"], True),
                ("Digest", source["digest"], True),
                ("Size", words.data_size(source["size"]), False),
                ("Format", f"{source['format']}, {source['dtype']}", False),
                ("Shape", f"{shape} ({', '.join(source['axes'])})", False),
                ("Channels", _channels(source), False),
                ("No-data value", "none declared" if nodata is None else f"{nodata:g}", False),
                *((k, v, False) for k, v in _grid(source["grid"])),
                ("Model sees it", (record.get("sampling") or {}).get("says", ""), False),
            ],
        ),
        (
            "Model",
            [
                ("Bundle", f"{bundle['name']} {bundle['version']}", False),
                ("Digest", bundle["digest"], True),
                *_coarse(record.get("region_of_interest")),
                ("About", bundle.get("description", ""), False),
                ("Licence", bundle.get("licence", ""), False),
                *((f"Score: {k}", v, False) for k, v in list(bundle.get("scores", {}).items())[:30]),
            ],
        ),
        (
            "Parameters",
            [
                *(
                    (k.capitalize().replace("_", " "), _parameter(k, v), False)
                    for k, v in record["parameters"].items()
                ),
                ("Digest", record["parameters_digest"], True),
            ],
        ),
        (
            "Run",
            [
                ("Engine", f"{engine['name']}, {engine['precision']} ({engine['library']})", False),
                (
                    "Plan",
                    f"{words.number_of(plan['tiles'], 'tile')} in {words.number_of(plan['blocks'], 'block')}",
                    False,
                ),
                ("Memory", f"{words.data_size(plan['peak_memory_bytes'])} at most, as planned", False),
                (
                    "Blocks",
                    f"{record['blocks']['computed']:,} computed, {record['blocks']['reused']:,} reused",
                    False,
                ),
                ("Started", record["started"], False),
                ("Finished", record["finished"], False),
                ("segflow", f"{record['segflow']} (result version {record['result_version']})", False),
                ("Machine", f"Python {record['machine']['python']}, {record['machine']['platform']}", False),
            ],
        ),
    ]
    return [
        (title, [(k, words.shorten(str(v), 700), c) for k, v, c in rows if v != ""]) for title, rows in groups
    ]


def _coarse(found: dict[str, Any] | None) -> list[tuple[str, Any, bool]]:
    """What found the region of interest, of a two-stage bundle."""
    if found is None:
        return []
    classes = " and ".join(found["classes"])
    return [
        ("Coarse stage", f"{found['name']} {found['version']} on {found['engine']['library']}", False),
        ("Coarse stage's digest", found["digest"], True),
        (
            "Region of interest",
            f"{classes}, margin {_plain(found['margin'])} pixels, coarsened by {_plain(found['coarsen'])}: "
            f"{100 * found['share']:.3g} % of the image, {found['tiles']:,} of {found['tiles_full']:,} tiles",
            False,
        ),
    ]


def _grid(grid: dict[str, Any]) -> list[tuple[str, str]]:
    """The grid in words; ``run.json`` has it in full."""
    if "affine" in grid:
        unit = words.length_unit(grid)
        spacing = " × ".join(f"{s * unit.factor:.6g}" for s in reversed(grid["spacing"][-3:]))
        if not grid.get("patient", True):
            return [("Voxel", f"{spacing} {unit.label.replace(', x y z', ' (x, y, z)')}")]
        axes = "".join(map(str, grid["orientation"]))
        return [("Voxel", f"{spacing} mm (right, anterior, superior)"), ("Axes of the file", axes)]
    a, b, c, d, e, f = grid["transform"][:6]
    step = (" " + crs_unit(grid["crs"])).rstrip() if grid["crs"] else ""
    pixel = f"{math.hypot(a, d):.9g} × {math.hypot(b, e):.9g}{step}"
    return [
        ("Reference system", _crs_name(grid["crs"])),
        ("Pixel", pixel + (", rotated" if b or d else "")),
        ("Corner", f"{c:.9g}, {f:.9g}"),
    ]


def _crs_name(wkt: str | None) -> str:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    if not wkt:
        return "none: sizes are counted in pixels"
    try:
        crs = CRS.from_wkt(wkt)
    except CRSError:
        return wkt
    authority = crs.to_authority()
    return f"{crs.name} ({':'.join(authority)})" if authority else crs.name


def _parameter(name: str, value: Any) -> str:
    """A parameter as people read it; empty where all of it is the default."""
    if name == "asked":
        asked = _beyond(value, Parameters(spacing="card").model_dump())
        return "; ".join(f"{k} {v}" for k, v in asked.items()) or "nothing but the defaults"
    if name == "normaliser":
        # Infinite limits clip nothing, so there is nothing to say of them.
        limited = {k: v for k, v in value.items() if not all("inf" in n for n in v)}
        return "; ".join(f"{k} {', '.join(v)}" for k, v in limited.items())
    return _plain(value) + (" tiles" if name == "block" else "")


def _beyond(asked: dict[str, Any], default: dict[str, Any]) -> dict[str, str]:
    """What differs from the default, by its own name."""
    out: dict[str, str] = {}
    for name, value in asked.items():
        usual = default.get(name)
        if isinstance(value, dict) and isinstance(usual, dict):
            out |= _beyond(value, usual)
        elif value != usual and value not in ([], None):
            sizes = name in ("tile", "window", "coarsen")
            out[name] = _plain(value) if sizes or not isinstance(value, list) else ", ".join(map(str, value))
    return out


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items() if v is not None)
    return " × ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _channels(source: dict[str, Any]) -> str:
    """Names of the channels; of bands that are called otherwise, which they are."""
    bands = source.get("bands") or [{"channel": c, "name": c} for c in source["channels"]]
    return ", ".join(
        b["channel"] if b["channel"] == b["name"] else f"{b['channel']} ({b['name']})" for b in bands
    )
