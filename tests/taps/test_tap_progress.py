"""`tap_progress`: told at the first item, then now and then, and always at the end."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream.taps import MetricsSummary, Outcome, tap_progress
from rxstream.tokens import TextDelta

on_next, on_completed, on_error = ReactiveTest.on_next, ReactiveTest.on_completed, ReactiveTest.on_error
BOOM = OSError("boom")


def told(times: list[int], end: Any, every: float) -> list[MetricsSummary]:
    """What is told of items that come at `times` to a subscription from 200 to 1,000."""
    clock, heard = TestScheduler(), list[MetricsSummary]()
    source = clock.create_hot_observable(*[on_next(at, TextDelta("a")) for at in times], *([end] if end else []))

    def now() -> float:
        return clock.now.timestamp()

    tap = tap_progress(heard.append, timedelta(seconds=every), now=now)
    clock.start(lambda: source.pipe(tap))
    return heard


@given(
    st.lists(st.integers(201, 900), max_size=40).map(sorted),
    st.sampled_from([on_completed(950), on_error(950, BOOM), None]),
    st.integers(0, 100),
)
def test_it_is_told_no_more_often_than_asked_and_always_at_the_end(times: list[int], end: Any, every: int) -> None:
    *running, last = told(times, end, every)

    moments = [200 + summary.seconds for summary in running]
    assert all(later - sooner >= every for sooner, later in itertools.pairwise(moments))
    assert moments[:1] == times[:1]
    assert all(summary.outcome is None for summary in running)
    assert last.outcome is (
        Outcome.CANCELLED if end is None else Outcome.FAILED if end == on_error(950, BOOM) else Outcome.COMPLETED
    )
    assert last.tokens == len(times)
    untold = [at for at in times if moments and at >= moments[-1] + every and at != moments[-1]]
    assert not untold, "whoever was due was told"


def test_with_no_period_every_item_is_told() -> None:
    assert [summary.tokens for summary in told([210, 211, 211], on_completed(212), 0)] == [1, 2, 3, 3]


def test_a_callback_that_raises_harms_nobody_and_still_hears_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[Outcome | None] = []
    given: list[int] = []

    def broken(summary: MetricsSummary) -> None:
        calls.append(summary.outcome)
        raise ZeroDivisionError

    reactivex.of(1, 2, 3).pipe(tap_progress(broken, timedelta(0))).subscribe(given.append)

    assert given == [1, 2, 3]
    assert calls == [None, Outcome.COMPLETED]
    assert capsys.readouterr().out.count("tap.failed") == 2


def test_each_subscription_is_told_of_by_itself() -> None:
    heard: list[MetricsSummary] = []
    stream = reactivex.of(TextDelta("a")).pipe(tap_progress(heard.append))

    stream.subscribe()
    stream.subscribe()

    assert [summary.tokens for summary in heard] == [1, 1, 1, 1]


def test_a_negative_period_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        tap_progress(print, timedelta(seconds=-1))
