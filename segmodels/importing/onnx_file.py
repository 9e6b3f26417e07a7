"""What an ONNX file says of itself, read from its protobuf records; the package onnx is not needed.

Only the few records that an import must know are decoded: inputs, outputs, operations, where weights lie.
Field numbers are those of ONNX's public ``onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segmodels.errors import BundleError

Activation = Literal["Softmax", "Sigmoid"]

_ELEMENTS = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    16: "bfloat16",
}
#: Operations that change no value, which exporters leave at the end.
_PASSING = ("Identity", "Cast")


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: Its name.
        dtype: numpy's name of its values, or ``other``.
        dims: Its sizes, None where they are free.
    """

    name: str
    dtype: str
    dims: tuple[int | None, ...]


@dataclass(frozen=True)
class OnnxFile:
    """One ONNX file.

    Attributes:
        inputs: What must be fed; weights are not counted.
        outputs: What it gives.
        producer: The library that wrote it.
        foreign: Operations outside the ONNX standard, as ``domain::name``.
        external: Files beside it in which weights lie.
        ends_in: Softmax or Sigmoid, if that is the last thing done to the first output.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    producer: str
    foreign: tuple[str, ...]
    external: tuple[str, ...]
    ends_in: Activation | None


def read_onnx(path: Path) -> OnnxFile:
    """Reads the records of an ONNX file; nothing is executed, no weight is decoded.

    Raises:
        BundleError: The file is no ONNX model.
    """
    try:
        return _read(path.read_bytes())
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is not an ONNX model ({error}); export it again.") from error


def without_activation(data: bytes) -> bytes:
    """The same model giving what its last Softmax or Sigmoid was given.

    Raises:
        ValueError: It ends in neither.
    """
    model = list(_fields(data))
    graph = _one(model, 7)
    records = list(_fields(graph))
    outputs = [v for n, v in records if n == 12]
    dropped, node = _last(records, _text(_one(_fields(outputs[0]), 1)))
    if node is None or node.op not in ("Softmax", "Sigmoid"):
        raise ValueError("the model ends in neither Softmax nor Sigmoid")
    name = node.inputs[0].encode()
    # The output keeps its type and shape under the name of what the activation was given.
    renamed = _bytes(1, name) + b"".join(_record(n, v) for n, v in _fields(outputs[0]) if n != 1)
    kept = []
    for number, value in records:
        if number == 1 and bytes(value) in dropped:
            continue
        if number == 13 and bytes(_one(_fields(value), 1)) == name:
            continue  # it is an output now, and must not be described twice
        kept.append(_bytes(12, renamed) if number == 12 else _record(number, value))
    new = _bytes(7, b"".join(kept))
    return b"".join(new if number == 7 else _record(number, value) for number, value in model)


@dataclass(frozen=True)
class _Node:
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


Value = memoryview | int


def _read(data: bytes) -> OnnxFile:
    model = list(_fields(data))
    records = list(_fields(_one(model, 7)))
    nodes = [_node(v) for n, v in records if n == 1]
    weights: set[str] = set()
    external: dict[str, None] = {}
    for number, value in records:
        if number == 5:
            tensor = list(_fields(value))
            weights.update(_text(v) for n, v in tensor if n == 8)
            external.update(dict.fromkeys(_locations(tensor)))
    outputs = tuple(_tensor(v) for n, v in records if n == 12)
    if not outputs or not nodes:
        raise ValueError("it has no graph")
    _, last = _last(records, outputs[0].name)
    ends: Activation | None = None
    if last is not None and last.op in ("Softmax", "Sigmoid"):
        ends = "Softmax" if last.op == "Softmax" else "Sigmoid"
    functions = {
        (_text(_one(_fields(v), 10, b"")), _text(_one(_fields(v), 1, b""))) for n, v in model if n == 25
    }
    foreign = {(n.domain, n.op) for n in nodes if n.domain not in ("", "ai.onnx")} - functions
    return OnnxFile(
        inputs=tuple(t for t in (_tensor(v) for n, v in records if n == 11) if t.name not in weights),
        outputs=outputs,
        producer=_text(_one(model, 2, b"")),
        foreign=tuple(sorted(f"{domain}::{op}" for domain, op in foreign)),
        external=tuple(external),
        ends_in=ends,
    )


def _locations(tensor: list[tuple[int, Value]]) -> Iterator[str]:
    for number, value in tensor:
        if number == 13:
            entry = dict(_fields(value))
            if _text(entry.get(1, b"")) == "location":
                yield _text(entry.get(2, b""))


def _node(value: Value) -> _Node:
    fields = list(_fields(value))
    return _Node(
        op=_text(_one(fields, 4)),
        domain=_text(_one(fields, 7, b"")),
        inputs=tuple(_text(v) for n, v in fields if n == 1),
        outputs=tuple(_text(v) for n, v in fields if n == 2),
    )


def _last(records: list[tuple[int, Value]], output: str) -> tuple[set[bytes], _Node | None]:
    """The operation that makes ``output``, and its record with those of what only hands it on."""
    by_output = {}
    for number, value in records:
        if number == 1:
            node = _node(value)
            by_output.update({name: (bytes(_view(value)), node) for name in node.outputs})
    dropped, name = set(), output
    while name in by_output:
        raw, node = by_output[name]
        dropped.add(raw)
        if node.op not in _PASSING:
            return dropped, node
        name = node.inputs[0]
    return dropped, None


def _tensor(value: Value) -> Tensor:
    fields = list(_fields(value))
    kind = list(_fields(_one(_fields(_one(fields, 2)), 1)))
    element = _one(kind, 1)
    dims: list[int | None] = []
    for _, dim in _fields(_one(kind, 2, b"")):
        sizes = [v for n, v in _fields(dim) if n == 1 and isinstance(v, int)]
        dims.append(sizes[0] if sizes and sizes[0] > 0 else None)
    dtype = _ELEMENTS.get(element, "other") if isinstance(element, int) else "other"
    return Tensor(_text(_one(fields, 1)), dtype, tuple(dims))


def _fields(data: Value | bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each record; a varint's value is an int, of others the bytes."""
    view, at = _view(data), 0
    while at < len(view):
        key, at = _varint(view, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(view, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(view, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("it is no protobuf file")
        if at + size > len(view):
            raise ValueError("it ends in the middle of a record")
        yield number, view[at : at + size]
        at += size


def _view(data: Value | bytes) -> memoryview:
    if isinstance(data, int):
        raise ValueError("a record is of another type than ONNX says")
    return memoryview(data)


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("it is no protobuf file")


def _one(
    fields: list[tuple[int, Value]] | Iterator[tuple[int, Value]], number: int, default: bytes | None = None
) -> Value:
    for n, value in fields:
        if n == number:
            return value
    if default is None:
        raise ValueError(f"record {number} is missing")
    return memoryview(default)


def _text(value: Value | bytes) -> str:
    return bytes(_view(value)).decode()


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _bytes(number: int, value: bytes | memoryview) -> bytes:
    return _encoded(number << 3 | 2) + _encoded(len(value)) + bytes(value)


def _record(number: int, value: Value) -> bytes:
    """A record as it was; of models and graphs all are varints or bytes."""
    if isinstance(value, int):
        return _encoded(number << 3) + _encoded(value)
    return _bytes(number, value)
