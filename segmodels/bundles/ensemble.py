"""Ensembles: bundles inside a bundle, whose probabilities are averaged in a fixed order.

``ensemble.json`` names each member's folder below ``members/`` and its bundle digest; the file itself is listed
in the card, so that one digest vouches for everything.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from segmodels.bundles.bundle import (
    CARD,
    ENSEMBLE,
    GOLDEN,
    Bundle,
    file_digest,
    load_bundle,
    read_golden,
)
from segmodels.bundles.card import Card, Training
from segmodels.bundles.inner import Inner, inner_folder, load_inner, read_listing
from segmodels.bundles.write import place, reference_of
from segmodels.errors import BundleError


class Members(BaseModel):
    """What ``ensemble.json`` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    members: Annotated[tuple[Inner, ...], Field(min_length=2)]


def read_members(bundle: Bundle) -> list[Bundle]:
    """Loads and checks every member, in order.

    Raises:
        BundleError: One is missing, altered, elsewhere, an ensemble itself, or does not fit the card.
    """
    listed = read_listing(bundle.path / ENSEMBLE, Members).members
    members = []
    for entry in listed:
        folder = inner_folder(bundle, entry)
        if (folder / ENSEMBLE).exists():
            raise BundleError(f"{folder} is an ensemble itself; list its members instead.")
        member = load_inner(folder, entry, listed_in=ENSEMBLE, role="member")
        if member.kind == "two-stage":
            raise BundleError(f"{folder} has two stages; an ensemble averages models that have one.")
        members.append(member)
    if len(members) != bundle.card.members:
        raise BundleError(
            f"{bundle.path / CARD} speaks of {bundle.card.members} members, but {ENSEMBLE} names {len(members)}; "
            "write the ensemble again."
        )
    for member in members:
        check_fit(bundle.card, member.card)
    return members


def check_fit(card: Card, other: Card) -> None:
    """Refuses a member that takes or gives something else.

    Raises:
        BundleError: Names what differs.
    """
    pairs = {
        "axes": (card.ndims, other.ndims),
        "classes": (_classes(card), _classes(other)),
        "activation": (card.activation, other.activation),
        "number of channels": (len(card.channels), len(other.channels)),
        "normalisation": (_normalise(card), _normalise(other)),
    }
    for what, (a, b) in pairs.items():
        if a != b:
            raise BundleError(
                f"The member {other.name} has another {what} than {card.name} ({b}, not {a}); average models that "
                "share classes, channels and normalisation."
            )
    if any(t % other.stride for t in card.tile) or card.stride % other.stride:
        raise BundleError(
            f"Tiles of {card.name} are no multiples of {other.name}'s stride {other.stride}; write the ensemble again."
        )
    if other.fixed_tile and card.tile != other.tile:
        raise BundleError(
            f"The member {other.name} takes tiles of {other.tile} only; give models of one tile."
        )


def write_ensemble(
    directory: str | Path,
    members: Sequence[str | Path],
    *,
    name: str | None = None,
    description: str = "",
    overwrite: bool = False,
) -> Bundle:
    """Copies members into a bundle of their own and writes its card and golden input.

    The card is the first member's, with the longest stride and the widest receptive radius; its golden logits
    are the members' averaged, computed in float32 on the CPU.

    Args:
        directory: The bundle's folder.
        members: Two or more bundles; their order is the order of the average.
        name: By default the folder's.
        description: Free text.
        overwrite: Whether an existing bundle is replaced.

    Raises:
        BundleError: Members do not fit each other, or the folder exists.
        EngineError: A member needs a library that is not installed.
    """
    target = Path(directory).absolute()
    if target.exists() and not (overwrite and (target / CARD).is_file()):
        raise BundleError(
            f"{target} already exists; choose another folder, or overwrite a bundle on purpose."
        )
    loaded = [load_bundle(member) for member in members]
    if len(loaded) < 2:
        raise BundleError("An ensemble averages two models or more; name another one.")
    for one in loaded:
        if one.kind == "ensemble":
            raise BundleError(f"{one.path} is an ensemble itself; name its members instead.")
        if one.kind == "two-stage":
            raise BundleError(f"{one.path} has two stages; average its fine stages first, then pair them.")
    card = _card(loaded, name or target.name.lower(), description)
    for one in loaded:
        check_fit(card, one.card)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        folder.chmod(0o755)
        entries = [_copy(one, folder, number) for number, one in enumerate(loaded)]
        listed = Members(members=tuple(entries))
        (folder / ENSEMBLE).write_text(listed.model_dump_json(indent=2) + "\n", encoding="utf-8")
        golden = _golden(loaded, card)
        logits = reference_of(Bundle(folder, card, "ensemble", ""))(golden)
        np.savez_compressed(folder / GOLDEN, input=golden, logits=logits)
        card = card.model_copy(update={"digests": {n: file_digest(folder / n) for n in (ENSEMBLE, GOLDEN)}})
        (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        load_bundle(folder)
        place(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return load_bundle(target)


def _card(members: list[Bundle], name: str, description: str) -> Card:
    first = members[0].card
    stride = math.lcm(*(m.card.stride for m in members))
    tile = first.tile if first.fixed_tile else tuple(-(-t // stride) * stride for t in first.tile)
    radii = [m.card.receptive_radius for m in members]
    known = [r for r in radii if r is not None]
    radius = tuple(map(max, zip(*known, strict=True))) if len(known) == len(radii) else None
    licences = dict.fromkeys(m.card.licence for m in members if m.card.licence)
    changes = {
        "name": name,
        "version": "1",
        "description": description or "Average of " + ", ".join(m.card.name for m in members) + ".",
        "stride": stride,
        "tile": tile,
        "receptive_radius": radius,
        "fixed_tile": any(m.card.fixed_tile for m in members),
        "members": len(members),
        "licence": "; ".join(licences),
        "training": Training(notes="Members: " + ", ".join(f"{m.card.name} {m.digest}" for m in members)),
        "to_check": tuple(dict.fromkeys(line for m in members for line in m.card.to_check)),
        "scores": {},
        "digests": {},
    }
    return Card.model_validate({**first.model_dump(), **changes})


def _copy(member: Bundle, folder: Path, number: int) -> Inner:
    path = f"members/{chr(ord('a') + number)}" if number < 26 else f"members/m{number}"
    (folder / path).mkdir(parents=True)
    for name in (CARD, *member.card.digests):
        shutil.copyfile(member.path / name, folder / path / name)
    return Inner(path=path, digest=member.digest)


def _golden(members: list[Bundle], card: Card) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The first member's golden input, repeated by reflection to whole strides."""
    golden, _ = read_golden(members[0])
    sides = golden.shape[1:-1]
    wider = [(0, -n % card.stride) for n in sides]
    return np.ascontiguousarray(np.pad(golden, [(0, 0), *wider, (0, 0)], mode="symmetric"))


def _classes(card: Card) -> list[tuple[str, int]]:
    return [(c.name, c.code) for c in card.classes]


def _normalise(card: Card) -> list[dict[str, object]]:
    kinds = card.normalise * len(card.channels) if len(card.normalise) == 1 else card.normalise
    return [n.model_dump() for n in kinds]
