"""What happens to a stream, in the log.

    event               level     when
    ──────────────────  ────────  ─────────────────────────────────────────────────
    stream.started      debug     it was subscribed to
    stream.item         debug     each chunk, frame or token: its kind and its size
    stream.fault        warning   something in it that no healthy stream has
    stream.completed    info      it came to its end; with its figures
    stream.cancelled    info      the consumer let go of it; with its figures
    stream.failed       error     it failed; with its figures and the error's facts

Events are constants and the rest are facts: names, counts, sizes, seconds. Neither what
the model or the user wrote is among them, nor an error's text, which may quote it.
"""

import logging
import time
from collections.abc import Callable, Sized
from typing import Any, TypeVar, cast

from reactivex import Observable, abc

from rxstream.errors import StreamError
from rxstream.schedulers import gate_of
from rxstream.taps._tapped import tapped
from rxstream.taps.metrics import MetricsSummary, StreamMetrics
from rxstream.taps.tap_metrics import pressure_on
from rxstream.tokens import FinishReason, Outcome, Retract, StreamEnd, ToolCallTruncated

T = TypeVar("T")

STARTED = "stream.started"
ITEM = "stream.item"
FAULT = "stream.fault"
COMPLETED = "stream.completed"
CANCELLED = "stream.cancelled"
FAILED = "stream.failed"

_FAULTY = frozenset({ToolCallTruncated, Retract, StreamEnd})
"""Tokens that may be a fault."""
_BAD_ENDS = frozenset({FinishReason.CONTENT_FILTER, FinishReason.ERROR})
_ERROR_FACTS = ("status", "kind", "code", "request_id", "retry_after", "is_retryable")


def tap_log(
    logger: Any = None, *, now: Callable[[], float] = time.perf_counter
) -> Callable[[Observable[T]], Observable[T]]:
    """Log one line for each stream, one for each fault in it, and at debug level one for each item.

    `logger` is one of structlog's (`structlog.get_logger()` by default), bound to whatever
    names the stream. Where it says that debug is off, an item costs no line.
    """
    import structlog  # here, so that it is not loaded in the middle of a stream

    def begin(scheduler: abc.SchedulerBase | None) -> _Logged:
        return _Logged(structlog.get_logger() if logger is None else logger, now, scheduler)

    return lambda source: tapped(source, begin)


class _Logged:
    """One subscription, logged."""

    def __init__(self, logger: Any, now: Callable[[], float], scheduler: abc.SchedulerBase | None) -> None:
        self._logger = logger.bind()  # a lazy proxy would find out its configuration anew with each line
        self._now = now
        self._metrics = StreamMetrics()
        self._logs_items = _is_debugging(self._logger)
        gate = gate_of(scheduler)
        self._metrics.start(now(), None if gate is None else pressure_on(gate))
        self._logger.debug(STARTED)

    def on_item(self, item: object) -> None:
        self._metrics.record(item, self._now())
        if type(item) in _FAULTY:
            self._note_fault(item)
        if self._logs_items:
            self._logger.debug(ITEM, kind=type(item).__name__, size=_size(item))

    def on_failed(self, error: Exception) -> None:
        figures = self._stop(Outcome.FAILED, error)
        facts = {name: fact for name in _ERROR_FACTS if (fact := getattr(error, name, None)) is not None}
        if isinstance(error, StreamError) and error.provider is not None:
            facts["provider"] = error.provider
        self._logger.error(FAILED, **figures | facts)

    def on_completed(self) -> None:
        self._logger.info(COMPLETED, **self._stop(Outcome.COMPLETED))

    def on_cancelled(self) -> None:
        self._logger.info(CANCELLED, **self._stop(Outcome.CANCELLED))

    def _note_fault(self, token: object) -> None:
        if isinstance(token, ToolCallTruncated):
            self._logger.warning(FAULT, fault="tool_call_truncated", call_id=token.id)
        elif isinstance(token, Retract):
            self._logger.warning(FAULT, fault="retract", reason=token.reason, choice=token.choice)
        elif isinstance(token, StreamEnd) and token.reason in _BAD_ENDS:
            self._logger.warning(FAULT, fault=str(token.reason), reason=token.raw_reason, choice=token.choice)

    def _stop(self, outcome: Outcome, error: Exception | None = None) -> dict[str, Any]:
        self._metrics.stop(outcome, self._now(), error)
        return facts_of(self._metrics.summary())


def facts_of(summary: MetricsSummary) -> dict[str, Any]:
    """Return what is known in `summary` as facts for a log line; the event itself says the outcome."""
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name in summary.__struct_fields__
        if name != "outcome" and (value := getattr(summary, name)) not in {None, 0}
    }


def _is_debugging(logger: Any) -> bool:
    """Whether `logger` writes debug lines; one that does not say may."""
    kind = cast(type[object], type(logger))
    for name in ("is_enabled_for", "isEnabledFor"):
        if hasattr(kind, name):  # the object itself may take any name for one to log by
            return bool(getattr(logger, name)(logging.DEBUG))
    return True


def _size(item: object) -> int | None:
    """How large an item is: bytes, characters or items, if it has such a size."""
    for sized in (item, getattr(item, "text", None), getattr(item, "data", None), getattr(item, "arguments", None)):
        if isinstance(sized, Sized):
            return len(sized)
    return None
