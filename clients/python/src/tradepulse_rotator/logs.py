"""Structured logs: the message of a record is the name of the event, its fields are attributes of the record."""

from __future__ import annotations

import json
import logging
import time
from typing import Final

logger: Final = logging.getLogger("tradepulse_rotator")

_FIELDS: Final = "rotator_fields"


def event(level: int, name: str, **fields: str | float | bool) -> None:
    """Log one event."""
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={_FIELDS: fields, **fields})


class JSONFormatter(logging.Formatter):
    """Writes a record as one JSON object: ``{"time": …, "level": …, "msg": "secret.rotated", "secret_id": …}``."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line = {"time": self.formatTime(record), "level": record.levelname, "msg": record.getMessage()}
        fields = getattr(record, _FIELDS, {})
        if record.exc_info:
            fields = {**fields, "exception": self.formatException(record.exc_info)}
        return json.dumps(line | {k: v for k, v in fields.items() if k not in line}, default=str)
