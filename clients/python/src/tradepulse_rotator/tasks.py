"""Loops in the background that no exception ends."""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tradepulse_rotator.metrics import Metrics

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0
_FRAMES: Final = 3


def ends(error: BaseException) -> bool:
    """Report whether an exception has to end the running task: the process exits, or the task is cancelled.

    A library may raise CancelledError although the task is not cancelled, such as one that cancels a future that the task
    waits for. That one ends nothing.
    """
    if isinstance(error, asyncio.CancelledError):
        return _cancelled()
    return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))


def _cancelled() -> bool:
    """Report whether the running task is cancelled, also when a library swallowed the CancelledError."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def describe(error: BaseException) -> str:
    """Return the type of an exception and the innermost calls. Its text is left out, since it may quote a value."""
    frames = [
        f"{PurePath(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]  # fmt: skip
    return f"{type(error).__name__} in " + " > ".join(frames[-_FRAMES:]) if frames else type(error).__name__


def failed(name: str, error: BaseException, metrics: Metrics, **fields: str | float) -> None:
    """Log and count an exception that a task did not expect."""
    metrics.count("secret.task.failures", {"task": name})
    logs.event(logging.ERROR, "secret.task.failed", task=name, error=describe(error), **fields)


async def forever(name: str, work: Callable[[], Awaitable[None]], metrics: Metrics, *, longest: float = _LONGEST_PAUSE) -> None:
    """Call ``work`` again and again until the task is cancelled.

    ``work`` waits for something to do and does it once. When it raises, the exception is logged and counted, and ``work`` is
    called again after a pause. The pause doubles with each failure in a row, up to ``longest`` seconds.
    """
    pause = 0.0
    while not _cancelled():
        try:
            await work()
        except BaseException as err:
            if ends(err):
                raise
            pause = min(max(2 * pause, _FIRST_PAUSE), longest)
            failed(name, err, metrics, again_in=pause)
            await asyncio.sleep(jitter(pause))
        else:
            pause = 0.0


def jitter(pause: float) -> float:
    """Return a pause shortened by up to a half, so that processes that failed together do not try again together."""
    return pause * (1 - random.random() / 2)  # noqa: S311  # it spreads load
