"""`tap_log`: which lines are written, what they say, and what they never say."""

import logging
from typing import Any

import pytest
import reactivex
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import CapturingLogger

from rxstream.errors import InvalidRequestError, RateLimitedError
from rxstream.taps import tap_log
from rxstream.tokens import (
    FinishReason,
    Retract,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCallTruncated,
    UsageReport,
)
from tests.demand import Faucet

SECRET = "sk-what-the-user-wrote"


class Log:
    """A structlog logger that keeps its lines: level, event and facts."""

    def __init__(self, level: int = logging.DEBUG) -> None:
        self._capturing = CapturingLogger()
        self.logger: Any = structlog.wrap_logger(
            self._capturing, processors=[_as_it_is], wrapper_class=structlog.make_filtering_bound_logger(level)
        )

    @property
    def lines(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [(call.method_name, call.kwargs.pop("event", ""), call.kwargs) for call in self._copies()]

    @property
    def events(self) -> list[str]:
        return [event for _, event, _ in self.lines]

    def _copies(self) -> list[Any]:
        return [call._replace(kwargs=dict(call.kwargs)) for call in self._capturing.calls]


def _as_it_is(_: Any, __: str, facts: Any) -> Any:
    return facts


def logged(*tokens: StreamToken, error: Exception | None = None, level: int = logging.DEBUG) -> Log:
    log = Log(level)
    end = reactivex.empty() if error is None else reactivex.throw(error)
    reactivex.concat(reactivex.from_iterable(tokens), end).pipe(tap_log(log.logger, now=lambda: 1.0)).subscribe(
        on_error=lambda _: None
    )
    return log


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8), st.booleans())
def test_no_line_says_what_was_written(texts: list[str], fails: bool) -> None:
    tokens: list[StreamToken] = [TextDelta(f"«{text}»") for text in texts]
    tokens += [ToolCallTruncated("k", "id", "f", "«argument"), Retract(0)]
    error = InvalidRequestError("the service quotes «what was asked»", code="bad") if fails else None

    assert "«" not in repr(logged(*tokens, error=error).lines)


@pytest.mark.parametrize("error", [None, OSError(SECRET)])
def test_there_is_one_line_for_a_stream_that_nobody_debugs(error: Exception | None) -> None:
    log = logged(StreamStart("id", "model-1", "toy"), *[TextDelta("abc")] * 100, error=error, level=logging.INFO)

    ((level, event, facts),) = log.lines

    assert (level, event) == (("info", "stream.completed") if error is None else ("error", "stream.failed"))
    assert (facts["model"], facts["tokens"]) == ("model-1", 101)
    assert SECRET not in repr(facts)


def test_debugging_shows_each_item_by_kind_and_size() -> None:
    log = logged(TextDelta("abc"), UsageReport(output_tokens=3))

    assert log.lines[:-1] == [
        ("debug", "stream.started", {}),
        ("debug", "stream.item", {"kind": "TextDelta", "size": 3}),
        ("debug", "stream.item", {"kind": "UsageReport", "size": None}),
    ]
    assert log.lines[-1][2]["output_tokens"] == 3


def test_an_error_is_told_by_its_facts() -> None:
    error = RateLimitedError(SECRET, provider="toy", status=429, code="slow_down", request_id="r-1", retry_after=2.0)

    level, event, facts = logged(error=error).lines[-1]

    assert (level, event) == ("error", "stream.failed")
    assert facts == {
        "errors": 1,
        "error_type": "RateLimitedError",
        "provider": "toy",
        "status": 429,
        "code": "slow_down",
        "request_id": "r-1",
        "retry_after": 2.0,
        "is_retryable": True,
    }


def test_a_stream_that_is_let_go_of_is_cancelled() -> None:
    log, faucet = Log(), Faucet[bytes]()
    subscription = faucet.stream.pipe(tap_log(log.logger)).subscribe()

    faucet.push(b"abc")
    subscription.dispose()

    assert log.events == ["stream.started", "stream.item", "stream.cancelled"]
    assert log.lines[-1][2]["bytes"] == 3


@pytest.mark.parametrize(
    ("token", "facts"),
    [
        (ToolCallTruncated("k", "id-1", "f", "{"), {"fault": "tool_call_truncated", "call_id": "id-1"}),
        (Retract(3, reason="rude"), {"fault": "retract", "reason": "rude", "choice": 0}),
        (
            StreamEnd(FinishReason.CONTENT_FILTER, "safety", choice=1),
            {"fault": "content_filter", "reason": "safety", "choice": 1},
        ),
        (StreamEnd(FinishReason.ERROR, "oops"), {"fault": "error", "reason": "oops", "choice": 0}),
    ],
)
def test_a_fault_is_a_warning(token: StreamToken, facts: dict[str, Any]) -> None:
    assert logged(token, level=logging.WARNING).lines == [("warning", "stream.fault", facts)]


def test_a_healthy_end_is_no_fault() -> None:
    assert logged(StreamEnd(FinishReason.STOP, "stop"), level=logging.WARNING).lines == []


def test_what_is_bound_to_the_logger_is_on_every_line() -> None:
    log = Log()

    reactivex.of(TextDelta("a")).pipe(tap_log(log.logger.bind(request="r-1"))).subscribe()

    assert [facts["request"] for _, _, facts in log.lines] == ["r-1"] * 3


def test_structlogs_own_logger_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    reactivex.of(TextDelta("abc")).pipe(tap_log()).subscribe()

    assert "stream.completed" in capsys.readouterr().out


def test_a_logger_that_does_not_say_what_it_writes_is_given_everything() -> None:
    with structlog.testing.capture_logs() as lines:
        reactivex.of(TextDelta("abc")).pipe(
            tap_log(structlog.wrap_logger(None, wrapper_class=structlog.BoundLogger))
        ).subscribe()

    assert [line["event"] for line in lines] == ["stream.started", "stream.item", "stream.completed"]


def test_a_logger_that_raises_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    given: list[int] = []
    logger = structlog.wrap_logger(CapturingLogger(), processors=[broken])

    reactivex.of(1, 2).pipe(tap_log(logger)).subscribe(given.append)

    assert given == [1, 2]
    assert "tap.failed" in capsys.readouterr().out
