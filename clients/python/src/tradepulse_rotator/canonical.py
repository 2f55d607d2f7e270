"""JSON written in one way only, the way of the Go programs: audit records and JSON documents are compared by bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


class Number(str):
    """A number of a JSON document as it was written."""

    __slots__ = ()


def text(value: str) -> str:
    r"""Return a string as JSON.

    Escaped is what RFC 8259 demands, and U+2028 and U+2029; half of a surrogate pair, which UTF-8 cannot hold,
    becomes U+FFFD.
    """
    whole = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return json.dumps(whole, ensure_ascii=False).replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")


def document(value: object) -> str:
    """Return a JSON value without spaces, the names of objects in order."""
    match value:
        case Number():
            return str(value)
        case str():
            return text(value)
        case None | bool() | int() | float():
            return json.dumps(value)
        case Mapping():
            return "{" + ",".join(f"{text(k)}:{document(value[k])}" for k in sorted(value)) + "}"
        case Sequence():
            return "[" + ",".join(map(document, value)) + "]"
    raise TypeError(f"{type(value).__name__} is no JSON")


def load(raw: str | bytes) -> object:
    """Return a JSON value whose numbers are kept as they were written."""
    return json.loads(raw, parse_int=Number, parse_float=Number)
