"""Keeps values out of texts that quote them, as the Go client does (``secret.ScrubText``)."""

from __future__ import annotations

import base64
import html
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tradepulse_rotator.value import SecretValue

PIECE: Final = 6
"""How many characters in a row of a value, in any of its forms, count as a piece of it."""

LEAST: Final = 4
"""Shorter values are not looked for: they are in any text."""

_MOST: Final = 64 << 10


def scrub(text: str, value: bytes, redacted: str) -> str:
    """Return ``text`` with ``redacted`` in place of each piece of a value.

    A value that is shorter than a piece leaves nothing of a text that holds it. Of a JSON document each string and number is a
    value too.
    """
    if len(text) > _MOST:
        text = text[:_MOST] + "…"
    shown = value.decode(errors="replace")
    if len(shown) < LEAST:
        return text
    if len(shown) < PIECE and shown in text:
        return redacted
    found = {text[i : i + PIECE] for i in range(len(text) - PIECE + 1)}
    held = {form[i : i + PIECE] for form in _forms(value, shown) for i in range(len(form) - PIECE + 1)} & found
    if not held:
        return text
    out, end, last = [], 0, -PIECE
    for i in range(len(text) - PIECE + 1):
        if text[i : i + PIECE] not in held:
            continue
        if i - last > PIECE or last < 0:  # a shorter gap between two pieces goes with them
            out += [text[end:i], redacted]
        last = end = i + PIECE
    return "".join([*out, text[end:]])


_FIELDS: Final = ("strerror", "filename", "filename2", "object", "reason")
"""The fields of exceptions of the standard library that are neither in ``args`` nor in ``__dict__``."""


def scrub_error(error: BaseException, *values: SecretValue) -> None:
    """Take each piece of the values out of the texts of an exception, and of those that it came from or has in a group.

    It changes the exceptions, so that a caller can still tell those of a driver apart.
    """
    seen, todo = set[int](), [error]
    while todo:
        err = todo.pop()
        if id(err) in seen:
            continue
        seen.add(id(err))
        err.args = tuple(_clean(a, values) for a in err.args)
        vars(err).update({name: _clean(held, values) for name, held in vars(err).items()})
        for name in _FIELDS:
            if (cleaned := _clean(held := getattr(err, name, None), values)) is not held:
                with suppress(AttributeError, TypeError):  # a class may compute it from what is clean by now
                    setattr(err, name, cleaned)
        todo += [e for e in (err.__cause__, err.__context__) if e is not None]
        if isinstance(err, BaseExceptionGroup):
            todo += err.exceptions


def _clean(held: object, values: tuple[SecretValue, ...]) -> object:
    """Return a text or bytes without any piece of the values, or what it is given if that has none."""
    if not isinstance(held, str | bytes):
        return held
    text = before = held if isinstance(held, str) else held.decode(errors="replace")
    for value in values:
        text = value.scrub(text)
    if text == before:
        return held
    return text if isinstance(held, str) else text.encode()


def _forms(value: bytes, shown: str) -> Iterator[str]:
    yield repr(value)[2:-1]
    yield from (value.hex(), value.hex().upper())
    yield from _base64(value)
    for text in (shown, *(leaf for leaf in _leaves(shown) if len(leaf) >= PIECE)):
        plain = {text, repr(text)[1:-1], quote(text), quote(text, safe=""), quote_plus(text), html.escape(text)}
        plain |= {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
        for form in plain:
            yield from (form, json.dumps(form)[1:-1], quote_plus(form))
            for coded in _base64(form.encode(errors="replace")):
                yield from (coded, quote_plus(coded))


def _base64(value: bytes) -> Iterator[str]:
    """Yield what of a value is in the base64 of something longer, wherever it begins there."""
    for before in range(3):
        whole, skip = (before + len(value)) * 8 // 6, (before * 8 + 5) // 6
        padded = bytes(before) + value
        yield base64.b64encode(padded).decode()[skip:whole]
        yield base64.urlsafe_b64encode(padded).decode()[skip:whole]


def _leaves(text: str) -> Iterator[str]:
    if not text.startswith(("{", "[")):
        return
    try:
        nodes = [json.loads(text, parse_int=str, parse_float=str)]
    except (ValueError, RecursionError):
        return
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)
        elif isinstance(node, str):
            yield node
