"""No form of a value stays in a text that quotes it."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from tradepulse_rotator import SecretValue

BIRD = 'Canary/9f31c7Zq"+Väl€🔑 &<b>\\x%41!'
BODY = json.dumps({"value": BIRD})


@pytest.mark.parametrize(
    "quoted",
    [
        BIRD,
        BODY,
        json.dumps(BODY),
        json.dumps({"value": BIRD}, ensure_ascii=False),
        repr(BIRD),
        repr(BIRD.encode()),
        quote(BIRD),
        quote(BIRD, safe=""),
        quote_plus(BIRD),
        html.escape(BIRD),
        base64.b64encode(BIRD.encode()).decode(),
        base64.urlsafe_b64encode(BIRD.encode()).decode().rstrip("="),
        base64.b64encode(b"app:" + BIRD.encode()).decode(),
        base64.b64encode(BODY.encode()).decode(),
        BIRD.encode().hex(),
        BIRD[:14],
        BIRD[8:],
        "x" * (64 << 10) + BIRD,
    ],
)
def test_every_form_is_found(quoted: str) -> None:
    got = SecretValue(BIRD).scrub(f"status 400: {quoted} (end)")
    assert got.startswith("status 400: ")
    forms = [BIRD, BIRD.encode().hex(), *(base64.b64encode(b"x" * n + BIRD.encode()).decode()[4:40] for n in range(3))]
    assert not [form for form in forms if any(form[i : i + 6] in got for i in range(len(form) - 5))]
    if len(quoted) < 1000:
        assert got.endswith(" (end)")


def test_the_fields_of_a_document_are_values() -> None:
    value = SecretValue('{"user":"app","password":"Corr<ct-Horse","port":5432,"pin":98765432,"more":["Battery-Staple"]}')
    for text in ('{ "password" : "Corr<ct-Horse" }', "password=Corr%3Cct-Horse", "pin: 98765432", "[Battery-Staple]"):
        got = value.scrub(text)
        assert not [held for held in ("ct-Horse", "98765432", "Staple") if held in got]
    assert value.scrub("app cannot reach port 5432") == "app cannot reach port 5432"


def test_a_short_value_leaves_nothing() -> None:
    assert SecretValue("4711").scrub("the PIN 4711 is refused") == "[redacted]"
    assert SecretValue("4711").scrub("permission denied") == "permission denied"
