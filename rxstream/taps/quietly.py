"""What keeps a tap from harming the stream that it looks at.

In stock Rx a tap that raises ends the stream. Here whatever it raises is logged, and
the stream goes on.
"""

import logging
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

TAP_FAILED = "tap.failed"


def quietly(callback: Callable[..., object]) -> Callable[..., None]:
    """Return `callback` as what never raises: what it raises is logged.

    Logged is `tap.failed` with the class of the error and the line that raised it, but not
    its text, which may hold what the user wrote.
    """

    def call(*arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception as error:
            report(error)

    return call


def report(error: Exception) -> None:
    """Log that a tap raised `error`."""
    import structlog

    facts = {"error": type(error).__qualname__, "at": _where(error)}
    try:
        structlog.get_logger().warning(TAP_FAILED, **facts)
    except Exception as broken:  # the logger may be the very thing that raised
        facts["logger_error"] = type(broken).__qualname__
        # A handler that writes to stderr never raises.
        logging.StreamHandler().handle(logging.makeLogRecord({"msg": f"{TAP_FAILED} {facts}"}))


def _where(error: Exception) -> str | None:
    """The file and line that raised `error`."""
    trace = error.__traceback__
    if trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
