"""What a value consists of, and whether it fits its use. The rules are those of pkg/secret, see shape.go and use.go there."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Final, NoReturn

MAX_TOKEN: Final = 8 << 10
"""The longest bearer token in bytes."""

_ASCII_END: Final = 0x80
_BYTE_ORDER_MARK: Final = "\ufeff"
_URL: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*:)+//", re.IGNORECASE)
_SETTINGS: Final = re.compile(
    r"[a-z][a-z0-9_ ]*=[^;]*;\s*[a-z][a-z0-9_ ]*=|[a-z][a-z0-9_]* *= *[^\t\n\f\r ]+[\t\n\f\r ]+[a-z][a-z0-9_]* *=",
    re.IGNORECASE,
)
# Characters that show nothing although Unicode counts them as letters, marks or symbols.
_BLANK: Final = frozenset(
    map(
        chr,
        [
            0x34F,
            0x115F,
            0x1160,
            0x17B4,
            0x17B5,
            *range(0x180B, 0x1810),
            0x2800,
            0x3164,
            *range(0xFE00, 0xFE10),
            0xFFA0,
            *range(0xE0100, 0xE01F0),
        ],
    )
)


def shape(text: str) -> str:
    """Return what a value consists of, "" for one piece of text. A line break at its end does not count."""
    text = text.removeprefix(_BYTE_ORDER_MARK).strip()
    if _is_document(text):
        return "a JSON document"
    if "\n" in text or "\r" in text:
        return "text of several lines"
    return "a connection string" if _URL.match(text) or _SETTINGS.match(text) else ""


def _is_document(text: str) -> bool:
    if not text.startswith(("{", "[")):
        return False
    try:
        json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def fault(raw: bytes, *, token: bool) -> str:
    """Return what keeps a value from its use, "" for nothing. It names the kind of the character and where it is."""
    if token and not 0 < len(raw) <= MAX_TOKEN:
        return f"it has {len(raw)} bytes, and a token has 1 to {MAX_TOKEN}"
    at = 0
    for char in raw.decode(errors="surrogateescape"):
        size = len(char.encode(errors="surrogateescape"))
        kind = _unfit(char, edge=at == 0 or at + size == len(raw), token=token)
        if kind:
            return f"it has {kind} at byte {at + 1} of {len(raw)}"
        at += size
    return ""


_NAMES: Final = {"\n": "a line end", "\r": "a line end", "\t": "a tab", _BYTE_ORDER_MARK: "a byte order mark"}


def _unfit(char: str, *, edge: bool, token: bool) -> str:
    category = unicodedata.category(char)
    if char in _NAMES:
        return _NAMES[char]
    if char == " ":
        return "a space" if edge or token else ""
    kinds = {"Cs": "a byte that is not UTF-8", "Cc": "a control character", "Cf": "an invisible character"}
    if category in kinds:
        return kinds[category]
    if category[0] == "Z":
        return "a space that is not ASCII"
    if char in _BLANK:
        return "an invisible character"
    return "a character that is not ASCII" if token and ord(char) >= _ASCII_END else ""
