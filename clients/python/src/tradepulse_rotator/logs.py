"""Structured logs: a record has the name of the event and its fields as attributes.

The message is the name. The fields ``error`` and ``detail`` follow it, so that a handler that knows nothing of the
attributes, such as Python's default, shows them.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from typing import Final

logger: Final = logging.getLogger("tradepulse_rotator")

_FIELDS: Final = "rotator_fields"
_EVENT: Final = "rotator_event"


def event(level: int, name: str, **fields: str | float | bool) -> None:
    """Log one event. It never raises: a handler of the service that does must not end the work that is logged."""
    with suppress(Exception):
        if logger.isEnabledFor(level):
            text = "; ".join(str(fields[f]) for f in ("error", "detail") if fields.get(f))
            message = f"{name}: {text}" if text else name
            logger.log(level, "%s", message, extra={_EVENT: name, _FIELDS: fields, **fields})


class JSONFormatter(logging.Formatter):
    """Writes a record as one JSON object: ``{"time": …, "level": …, "msg": "secret.rotated", "secret_id": …}``."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        message = getattr(record, _EVENT, None) or record.getMessage()
        line = {"time": self.formatTime(record), "level": record.levelname, "msg": message}
        fields = getattr(record, _FIELDS, {})
        if record.exc_info:
            fields = {**fields, "exception": self.formatException(record.exc_info)}
        return json.dumps(line | {k: v for k, v in fields.items() if k not in line}, default=str)
