"""XML that came from elsewhere, read without what XML can do: no declarations of types or entities, no size without end."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from tasks.errors import InputError

#: A product's metadata holds a few MB at most.
LARGEST = 32 << 20
#: Elements inside one another.
DEEPEST = 100


def safe_xml(path: Path, *, limit: int = LARGEST) -> ElementTree.Element:
    """The root element of a file.

    A document type is refused whole: entities that grow or read other files can only be declared there.

    Raises:
        InputError: It cannot be read, is no XML, is larger than ``limit`` bytes, or declares a document type.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error}): check its permissions"
        ) from error
    if len(data) > limit:
        raise InputError(f"{path} is larger than {limit >> 20} MiB, which no metadata is: fetch it again")
    builder = ElementTree.TreeBuilder()
    depth = 0

    def refuse(*_: object) -> NoReturn:
        raise InputError(
            f"{path} declares a document type or entities, which is not read: remove the DOCTYPE"
        )

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise InputError(f"{path} nests more than {DEEPEST} elements: fetch it again")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise InputError(f"{path} is no complete XML ({error}): fetch it again") from error
    return builder.close()


def local(tag: str) -> str:
    """A tag without its namespace, written as ``prefix:name`` or ``{address}name``."""
    return tag.rsplit("}", 1)[-1].rsplit(":", 1)[-1]
