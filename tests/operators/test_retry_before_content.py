"""Ask again, but never for a second answer."""

from typing import Any

import pytest
from reactivex import Observable
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream.errors import InvalidRequestError, OverloadedError, StreamError
from rxstream.flow import RetryPolicy
from rxstream.operators import retry_before_content
from rxstream.tokens import StreamStart, StreamToken, TextDelta

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed

START = StreamStart("1", "m", "toy")
BUSY = OverloadedError("busy")
POLICY = RetryPolicy(retries=2, first_delay=10, max_delay=100)


def attempts(clock: TestScheduler, *each: list[Any]) -> tuple[Observable[StreamToken], list[Any]]:
    """A source whose subscriptions, one after another, bring what `each` says."""
    sources = [clock.create_cold_observable(*messages) for messages in each]
    waiting = iter(sources)
    return Observable(lambda observer, scheduler: next(waiting).subscribe(observer)), sources


def run(*each: list[Any], policy: RetryPolicy = POLICY, disposed: float = 1000) -> tuple[list[Any], list[Any]]:
    clock = TestScheduler()
    source, sources = attempts(clock, *each)
    result = clock.start(lambda: source.pipe(retry_before_content(policy, random=lambda: 0)), disposed=disposed)
    return result.messages, [len(source.subscriptions) for source in sources]


def test_a_busy_service_is_asked_again_after_growing_waits() -> None:
    messages, asked = run(
        [on_error(5, BUSY)], [on_next(5, START), on_error(6, BUSY)], [on_next(5, START), on_next(6, TextDelta("a"))]
    )

    assert messages == [on_next(200 + 5 + 10 + 6 + 20 + 6, START), on_next(247, TextDelta("a"))]
    assert asked == [1, 1, 1]


def test_one_failure_too_many_is_passed_on() -> None:
    messages, asked = run(*[[on_next(1, START), on_error(2, BUSY)]] * 3)

    assert messages == [on_next(236, START), on_error(236, BUSY)]
    assert asked == [1, 1, 1]


@pytest.mark.parametrize("error", [InvalidRequestError("no"), ValueError("not ours")])
def test_what_would_fail_again_is_passed_on_at_once(error: Exception) -> None:
    messages, _ = run([on_error(5, error)])

    assert messages == [on_error(205, error)]


def test_after_the_first_content_nothing_is_asked_again() -> None:
    messages, _ = run([on_next(1, START), on_next(2, TextDelta("a")), on_error(3, BUSY)])

    assert messages == [on_next(202, START), on_next(202, TextDelta("a")), on_error(203, BUSY)]


def test_the_services_own_wait_is_kept() -> None:
    messages, _ = run([on_error(5, OverloadedError("busy", retry_after=40))], [on_completed(1)])

    assert messages == [on_completed(246)]


def test_a_wait_that_is_too_long_is_not_waited_for() -> None:
    patient = OverloadedError("busy", retry_after=61)

    messages, _ = run([on_error(5, patient)])

    assert messages == [on_error(205, patient)]


def test_dispose_while_waiting_asks_no_more() -> None:
    messages, asked = run([on_error(5, BUSY)], [on_completed(1)], disposed=210)

    assert messages == []
    assert asked == [1, 0]


def test_dispose_in_mid_stream_reaches_the_source() -> None:
    clock = TestScheduler()
    source, sources = attempts(clock, [on_next(1, TextDelta("a"))])

    clock.start(lambda: source.pipe(retry_before_content(POLICY)), disposed=300)

    assert [subscription.unsubscribe for subscription in sources[0].subscriptions] == [300]


def test_a_start_alone_is_given_at_the_end() -> None:
    assert run([on_next(1, START), on_completed(2)])[0] == [on_next(202, START), on_completed(202)]


@pytest.mark.parametrize("fields", [{"retries": -1}, {"first_delay": -1}])
def test_a_policy_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="negative"):
        RetryPolicy(**fields)


@pytest.mark.parametrize(("retry", "random", "delay"), [(0, 0.0, 0.5), (1, 0.0, 1.0), (0, 1.0, 0.375), (9, 0.0, 8.0)])
def test_waits_double_up_to_a_bound_less_some_jitter(retry: int, random: float, delay: float) -> None:
    assert RetryPolicy(retries=10).delay(retry, None, lambda: random) == delay


def test_the_error_keeps_what_is_known() -> None:
    error: StreamError = OverloadedError("busy", retry_after=2, status=529, request_id="r1", provider="toy")

    assert str(error) == "toy: busy (HTTP 529, request r1, retry after 2 s)"
