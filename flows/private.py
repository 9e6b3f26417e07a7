"""Private runs: an image is registered in the key file before anything is started, and then called by its key."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.errors import InputError, UsageError
from tasks.imagery.source import Source
from tasks.items.item import ListedItem, Listing
from tasks.privacy import keys
from tasks.privacy.hiding import hiding
from tasks.work import WORK

#: A ``--layer`` that says nothing of anyone: the number of a page or a level.
_NUMBER = re.compile(r"\d{1,3}")


def key_file(out: Path) -> Path:
    """Where an output folder keeps its keys."""
    return out.absolute() / WORK / keys.NAME


def wants_private(source: Source, asked: bool | None) -> bool:
    """Whether only pseudonyms are said of an image: as asked, else for DICOM."""
    from tasks.imagery.formats import format_of

    if asked is not None or source.private:
        return bool(asked) or source.private
    try:
        return format_of(source).name == "dicom"
    except InputError:
        return False  # it is refused later, with its reason


def privatised(
    options: dict[str, Any], *, file: Path | None = None, series_key: Callable[[str], str] | None = None
) -> dict[str, Any]:
    """The options of a run with a key in place of what names a patient, if the run is private.

    The key file is written first, so that what gets the options (Prefect keeps them) need not hold more.

    Args:
        options: Those of ``segment_image``.
        file: The key file; by default the output folder's.
        series_key: The key of a DICOM series by its UID; by default under the key file's secret.

    Raises:
        UsageError: An option that would name the image otherwise.
        OutputError: The key file cannot be written.
    """
    source = Source.parse([str(options["image"]), *options.get("more", ())])
    if source.private or not wants_private(source, options.get("private")):
        return options
    if any(":" in rule for rule in options.get("valid") or ()):
        raise UsageError(
            "--valid names a file, which --private cannot hide: give --no-private, or leave it out"
        )
    file = file or key_file(options["out"])
    layer, aoi = options.get("layer"), options.get("aoi")
    about = _about(source, series_key or keys.series_keys(file))
    uids, shown = _layer(source, layer, about, file)
    entry = keys.Entry(
        parts=tuple((p.uri, p.channel) for p in source.absolute().parts),
        layer=",".join(uids) or layer,
        aoi=None if aoi is None else str(Path(aoi).absolute()),
        about=about,
    )
    (key,) = keys.register(file, entry)
    said = {t for p in source.parts for t in (p.uri, str(Path(p.uri).name))} | ({str(aoi)} if aoi else set())
    return {
        **options,
        "image": keys.address(file, key),
        "more": [],
        "layer": shown,
        "aoi": None,
        "private": True,
        "command": _without(_with_layer(options.get("command", ""), shown), said, key),
    }


@contextmanager
def privatised_run(
    options: dict[str, Any], *, file: Path | None = None, series_key: Callable[[str], str] | None = None
) -> Iterator[dict[str, Any]]:
    """As :func:`privatised`; errors of the body say the key alone, wherever they come from."""
    asked = privatised(options, file=file, series_key=series_key)
    with hiding(Source.parse([str(asked["image"]), *asked.get("more", ())])):
        yield asked


@contextmanager
def privatised_nowhere(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """As :func:`privatised_run`, with a key file that is gone after the body; keys are those of ``out``, if it has any."""
    with tempfile.TemporaryDirectory(prefix="segflow-keys-") as folder:
        file, kept = Path(folder) / keys.NAME, key_file(Path(options["out"]))
        keys.copy_secret(kept, file)
        # Keys under a secret of this moment could not be given to --layer of the run that follows.
        series_key = None if kept.is_file() else keys.plain_series_key
        with privatised_run(options, file=file, series_key=series_key) as asked:
            yield asked


def private_listing(listing: Listing, *, out: Path, asked: bool | None) -> Listing:
    """The items of a list, those that are private with their keys as ids.

    Raises:
        OutputError: The key file cannot be written.
    """
    hide = [i for i in listing.items if not i.source.private and wants_private(i.source, asked)]
    if not hide and not asked:
        return listing
    file = key_file(out)
    series_key = keys.series_keys(file)
    entries = [
        keys.Entry(
            tuple((p.uri, p.channel) for p in i.source.absolute().parts), about=_about(i.source, series_key)
        )
        for i in hide
    ]
    named = dict(zip((i.id for i in hide), keys.register(file, *entries), strict=True))
    return replace(
        listing,
        items=tuple(
            ListedItem(k, Source.of(keys.address(file, k))) if (k := named.get(i.id)) else i
            for i in listing.items
        ),
        incomplete=tuple(
            replace(i, id=k, reason=i.reason.replace(i.id, k))
            for i in listing.incomplete
            for k in [keys.pseudonym(file, i.id, prefix="p") if asked else i.id]
        ),
    )


def private_source(source: str, match: str | None, command: str, *, out: Path) -> dict[str, Any]:
    """What lists the items of a private batch, as the parameters of a flow may hold it."""
    file = key_file(out)
    (key,) = keys.register(file, keys.Entry(((source, None),), layer=match))
    said = {source, *([match] if match else [])}
    return {"source": keys.address(file, key), "match": None, "command": _without(command, said, key)}


def revealed_source(source: str, match: str | None) -> tuple[str, str | None]:
    """What :func:`private_source` stands for; any other source is itself."""
    if not source.startswith(keys.SCHEME):
        return source, match
    entry = keys.look_up(source)
    return entry.parts[0][0], entry.layer


def check_named_by_key(source: Source, asked: bool | None) -> None:
    """Refuses a private run whose image the database knows already.

    Raises:
        UsageError: It was not registered before.
    """
    if not source.private and wants_private(source, asked):
        raise UsageError(
            "a private run (any of DICOM is one) must not be started with an image's path, which Prefect keeps: "
            "start it with segflow run, pass the options through flows.private.privatised, or set private to false"
        )


def _about(source: Source, series_key: Callable[[str], str]) -> dict[str, Any]:
    """Who a DICOM image is of."""
    from tasks.imagery.formats import format_of

    try:
        if format_of(source).name != "dicom":
            return {}
        from tasks.imagery.volume.dicom.patient import patient_of

        return patient_of(source.local, series_key=series_key)
    except (InputError, ValueError):
        return {}  # it is refused later, with its reason


def _layer(
    source: Source, layer: str | None, about: dict[str, Any], file: Path
) -> tuple[tuple[str, ...], str | None]:
    """UIDs of the series that a ``--layer`` means, if it means series, and what may be said in its place."""
    if layer is None:
        return (), None
    series = keys.Entry((), about=about).series
    if series:
        from tasks.imagery.volume.dicom.patient import uids_meant

        uids = uids_meant(source.local, layer, by_key=series)
        if uids:
            key_of = {uid: key for key, uid in series.items()}
            return uids, ",".join(key_of[uid] for uid in uids)
    return (), layer if _NUMBER.fullmatch(layer) else keys.pseudonym(file, layer, prefix="l")


def _with_layer(command: str, shown: str | None) -> str:
    """A command line that gives ``--layer`` as what may be said."""
    if shown is None:
        return command
    words = shlex.split(command)
    for n, word in enumerate(words):
        if word == "--layer" and n + 1 < len(words):
            words[n + 1] = shown
        elif word.startswith("--layer="):
            words[n] = f"--layer={shown}"
    return shlex.join(words)


def _without(command: str, said: set[str], key: str) -> str:
    """A command line with the key in place of every word that holds what may not be said."""
    longest_first = sorted((s for s in said if s), key=len, reverse=True)
    words = []
    for word in shlex.split(command):
        for text in longest_first:
            word = word.replace(text, key)
        words.append(word)
    return shlex.join(words)
