"""Rules over the values of a raster that say which pixels were observed: a small language of its own.

    rule   = clause, { " and ", clause } ;
    clause = comparison, number
           | [ "not " ], "in ", range, { ",", range }
           | "bits ", whole, { ",", whole }, "=", ( "0" | "1" ) ;
    comparison = "==" | "=" | "!=" | "<=" | "<" | ">=" | ">" ;
    range  = number, [ "-", number ] ;

A pixel was observed where the whole rule holds. Nothing is ever evaluated as code.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.errors import UsageError

_NUMBER = r"-?\d+(?:\.\d+)?"
_COMPARED = re.compile(rf"(==|!=|<=|>=|=|<|>)\s*({_NUMBER})")
_IN = re.compile(r"(not\s+)?in\s+(.+)", re.IGNORECASE)
_RANGE = re.compile(rf"({_NUMBER})(?:\s*-\s*({_NUMBER}))?")
_BITS = re.compile(r"bits?\s+(\d+(?:\s*,\s*\d+)*)\s*==?\s*([01])", re.IGNORECASE)
_AND = re.compile(r"\s+and\s+|\s*&\s*", re.IGNORECASE)
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
#: Classes of Sentinel-2's scene classification that show the ground: dark areas, vegetation, bare soil, water,
#: unclassified, snow. Hidden are no data, saturated, cloud shadow, clouds and cirrus.
_SCL = "in 2,4,5,6,7,11"
#: Bits of Landsat Collection 2 that hide it: fill, dilated cloud, cirrus, cloud, cloud shadow.
_QA_PIXEL = "bits 0,1,2,3,4=0"
#: Classes of Fmask that show the ground: land, water, snow. Hidden are cloud shadow, cloud and no observation.
_FMASK = "in 0,1,3"
PRESETS = {"scl": _SCL, "qa_pixel": _QA_PIXEL, "fmask": _FMASK}


@dataclass(frozen=True)
class Clause:
    """One condition.

    Attributes:
        kind: ``compare``, ``in`` or ``bits``.
        operator: Of a comparison.
        numbers: The number compared with; the ends of ranges, in pairs; or the bits.
        wanted: Whether a value must be in a range, or a bit be set.
    """

    kind: str
    numbers: tuple[float, ...]
    operator: str = ""
    wanted: bool = True

    def holds(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Where it does; never for NaN, except by ``!=`` and ``not in``, which see it as unknown, too."""
        if self.kind == "bits":
            bits = sum(1 << int(n) for n in self.numbers)
            stored = values.astype(np.int64) & bits
            return np.asarray(stored == (bits if self.wanted else 0))
        if self.kind == "compare":
            found = _OPERATORS[self.operator](values, self.numbers[0])
        else:
            found = np.zeros(values.shape, bool)
            for low, high in zip(self.numbers[::2], self.numbers[1::2], strict=True):
                found |= (values >= low) & (values <= high)
            found = found if self.wanted else ~found
        return np.asarray(found) & (values == values)  # NaN says nothing


@dataclass(frozen=True)
class Rule:
    """Conditions that must all hold.

    Attributes:
        text: As it was given, for records.
    """

    text: str
    clauses: tuple[Clause, ...]

    @property
    def needs_integers(self) -> bool:
        """Whether it looks at bits."""
        return any(c.kind == "bits" for c in self.clauses)

    def observed(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Where the rule holds; ``values`` of any shape."""
        return np.logical_and.reduce([c.holds(values) for c in self.clauses])


def parse_rule(text: str) -> Rule:
    """A rule as a user writes it, or a preset's name with its options.

    Example:
        >>> parse_rule("bits 3,4=0").observed(np.array([0, 8, 16, 32])).tolist()
        [True, False, False, True]

    Raises:
        UsageError: It is none; the sentence shows what is.
    """
    stripped = text.strip()
    name, _, options = stripped.partition(":")
    if name.strip().lower() in PRESETS:
        return Rule(stripped, _clauses(_preset(name.strip().lower(), options.strip(), stripped), stripped))
    return Rule(stripped, _clauses(stripped, stripped))


def _preset(name: str, options: str, text: str) -> str:
    if not options:
        return PRESETS[name]
    if not re.fullmatch(r"[\d\s,-]+", options):
        raise _wrong(text)
    return f"bits {options}=0" if name == "qa_pixel" else f"in {options}"


def _clauses(rule: str, text: str) -> tuple[Clause, ...]:
    return tuple(_clause(part.strip(), text) for part in _AND.split(rule))


def _clause(part: str, text: str) -> Clause:
    if found := _COMPARED.fullmatch(part):
        return Clause("compare", (float(found[2]),), operator=found[1])
    if found := _BITS.fullmatch(part):
        bits = tuple(float(b) for b in found[1].split(","))
        if max(bits) < 63:
            return Clause("bits", bits, wanted=found[2] == "1")
    if found := _IN.fullmatch(part):
        ranges = [_RANGE.fullmatch(r.strip()) for r in found[2].split(",")]
        if all(ranges):
            ends = [(float(r[1]), float(r[2] or r[1])) for r in ranges if r]
            if all(low <= high for low, high in ends):
                return Clause("in", tuple(n for pair in ends for n in pair), wanted=not found[1])
    raise _wrong(text)


def _wrong(text: str) -> UsageError:
    return UsageError(
        f"--valid: {text!r} is no rule: say where pixels were observed, as '!=0', 'in 4,5,6-7', 'bits 3,4=0', several "
        f"joined by ' and ', or {', '.join(PRESETS)} (scl:4,5,6 names classes that count, qa_pixel:3,4 bits that hide)"
    )
