"""A value is not shown by accident."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import traceback

import pytest

from tradepulse_rotator import Current, JSONFormatter, Key, SecretValue, Version

TEXT = "Correct-Horse-Battery-1"
VALUE = SecretValue(TEXT)


@pytest.mark.parametrize(
    "shown",
    [
        lambda: str(VALUE),
        lambda: repr(VALUE),
        lambda: f"{VALUE}{VALUE!r}{VALUE:>40}",
        lambda: "%s %r" % (VALUE, VALUE),  # noqa: UP031
        lambda: pprint.pformat({"a": [VALUE]}),
        lambda: repr(Key("v1", VALUE)),
        lambda: repr(Current(Version("v1", 0), VALUE, 0)),
        lambda: repr(VALUE._door),
        lambda: str(dir(VALUE)),
        lambda: json.dumps({"v": VALUE}, default=str),
    ],
)
def test_it_redacts_itself(shown: object) -> None:
    assert callable(shown)
    assert TEXT not in shown()


def test_logs_redact_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("x").error("it is %s", VALUE, extra={"secret": VALUE})
    assert TEXT not in caplog.text
    assert TEXT not in JSONFormatter().format(caplog.records[0])


def test_tracebacks_that_print_locals_redact_it() -> None:
    def fails(value: SecretValue) -> None:
        held = [value]
        raise ValueError(f"{held}")

    with pytest.raises(ValueError, match="redacted") as caught:
        fails(VALUE)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert TEXT not in "".join(shown.format())


def test_it_is_not_pickled() -> None:
    for holder in (VALUE, Key("v1", VALUE), [VALUE]):
        with pytest.raises(TypeError, match="not pickled") as caught:
            pickle.dumps(holder)
        assert TEXT not in str(caught.value)
    assert copy.deepcopy([VALUE])[0] is VALUE


def test_it_compares_by_value_and_has_no_hash() -> None:
    assert SecretValue(TEXT.encode()) == VALUE
    assert SecretValue("other") != VALUE
    assert VALUE != TEXT
    with pytest.raises(TypeError):
        hash(VALUE)
    assert VALUE
    assert not SecretValue(b"")
    assert len(VALUE) == len(TEXT)


def test_reveal_is_the_door() -> None:
    assert VALUE.reveal() == TEXT.encode()
    assert VALUE.reveal_text() == TEXT
    with pytest.raises(ValueError, match="not UTF-8") as caught:
        SecretValue(b"\xffabc").reveal_text()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_texts_are_scrubbed_of_it() -> None:
    value = SecretValue("it's\na secret")
    assert value.scrub(f"bad {value.reveal_text()} and {value.reveal()!r} and {value.reveal_text()!r}").count("[redacted]") == 3
    assert SecretValue("a").scrub("a word") == "a word"
