"""`rate_limit`: a pace that the source keeps, not a queue."""

import asyncio
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from rxstream.errors import ConfigurationError
from rxstream.operators import RateLimiter, rate_limit
from rxstream.sources import from_async_iterable
from tests.demand import Consumer, Faucet
from tests.virtual_loop import VirtualTimeLoop, virtual_time

BOOM = OSError("boom")


def test_items_go_at_the_pace_and_the_source_waits_meanwhile() -> None:
    faucet, clock = Faucet[int](), TestScheduler()
    consumer = Consumer(
        faucet.stream.pipe(rate_limit(0.1, burst=2), ops.timestamp(), ops.map(lambda item: item.value)), clock=clock
    )

    faucet.push(0, 1)
    assert (consumer.heard, faucet.is_wanted) == ([0, 1], True)
    faucet.push(2)
    assert (consumer.heard, faucet.is_wanted) == ([0, 1], False)
    clock.advance_to(9.999)
    assert consumer.heard == [0, 1]
    clock.advance_to(10)

    assert (consumer.heard, faucet.is_wanted) == ([0, 1, 2], True)


def test_what_the_source_had_in_hand_goes_at_the_pace_as_well() -> None:
    faucet, clock = Faucet[int](), TestScheduler()
    heard: list[tuple[int, float]] = []
    consumer = Consumer(
        faucet.stream.pipe(rate_limit(0.1), ops.do_action(lambda item: heard.append((item, clock.clock)))), clock=clock
    )

    faucet.push(*range(4))
    faucet.complete()
    clock.advance_to(100)

    assert heard == [(0, 0), (1, 10), (2, 20), (3, 30)]
    assert consumer.is_completed


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), max_size=30),
    st.integers(1, 5),
    st.floats(0.1, 10),
)
def test_no_window_ever_sees_more_than_its_permits(
    bursts: list[tuple[int, int]], burst: int, permits_per_second: float
) -> None:
    faucet, clock = Faucet[int](), TestScheduler()
    at: list[float] = []
    Consumer(
        faucet.stream.pipe(
            rate_limit(permits_per_second, burst=burst), ops.do_action(lambda _: at.append(clock.clock))
        ),
        clock=clock,
    )

    sent = 0
    for pause, count in bursts:
        clock.advance_by(pause)
        if faucet.is_wanted:
            faucet.push(*range(count))
            sent += count
    clock.advance_by(10_000)

    assert len(at) == sent
    for first in range(len(at)):
        for last in range(first, len(at)):
            window = at[last] - at[first]
            assert last - first + 1 <= burst + permits_per_second * window + 1e-3


def test_an_error_does_not_wait_for_its_permits() -> None:
    faucet = Faucet[int]()
    consumer = Consumer(faucet.stream.pipe(rate_limit(0.1)))
    faucet.push(0, 1, 2)

    faucet.fail(BOOM)

    assert (consumer.heard, consumer.error) == ([0, 1, 2], BOOM)


def test_completion_alone_needs_no_permit() -> None:
    faucet = Faucet[int]()
    consumer = Consumer(faucet.stream.pipe(rate_limit(0.1)))
    faucet.push(0)

    faucet.complete()

    assert consumer.is_completed


def test_a_consumer_that_wants_nothing_uses_up_no_permits() -> None:
    faucet, clock = Faucet[int](), TestScheduler()
    consumer = Consumer(faucet.stream.pipe(rate_limit(0.1)), clock=clock, wants=False)
    faucet.push(0)
    assert not faucet.is_wanted
    clock.advance_to(100)

    consumer.open()
    faucet.push(1)

    assert consumer.heard == [0]
    clock.advance_to(111)
    assert consumer.heard == [0, 1]


def test_an_item_may_cost_more_or_nothing() -> None:
    faucet, clock = Faucet[str](), TestScheduler()
    consumer = Consumer(faucet.stream.pipe(rate_limit(1, burst=4, weigh=len)), clock=clock)

    faucet.push("abcd", "", "ab", "c")
    assert consumer.heard == ["abcd", ""]
    clock.advance_to(2)
    assert consumer.heard == ["abcd", "", "ab"]
    clock.advance_to(3)

    assert consumer.heard == ["abcd", "", "ab", "c"]


@pytest.mark.parametrize("items", [[1], [0, 1], [0, 0, 1]])
def test_what_weighing_raises_ends_the_stream(items: list[int]) -> None:
    def weigh(item: int) -> float:
        return 1 if item == 0 else 1 / 0

    faucet = Faucet[int]()
    consumer = Consumer(faucet.stream.pipe(rate_limit(0.1, weigh=weigh)))

    faucet.push(*items)
    faucet.complete()
    consumer.clock.advance_by(100)

    assert isinstance(consumer.error, ZeroDivisionError)
    assert faucet.disposed == 1


def test_a_hot_source_is_refused_and_a_long_one_that_cannot_wait_too() -> None:
    hot = Consumer(Subject[int]().pipe(rate_limit(1)))
    short = Consumer(reactivex.from_iterable(range(3)).pipe(rate_limit(1)))
    long = Consumer(reactivex.from_iterable(range(3_000)).pipe(rate_limit(1)))

    for consumer in (short, long):
        consumer.clock.advance_by(10)

    assert isinstance(hot.error, ConfigurationError)
    assert (short.heard, short.is_completed) == ([0, 1, 2], True)
    assert isinstance(long.error, ConfigurationError)


@pytest.mark.parametrize("arguments", [{"permits_per_second": 0}, {"permits_per_second": 1, "burst": 0}])
def test_rates_that_make_no_sense_are_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        rate_limit(**arguments)


def test_each_subscription_has_permits_of_its_own() -> None:
    faucet = Faucet[int]()
    stream = faucet.stream.pipe(rate_limit(0.1))
    consumers = [Consumer(stream), Consumer(stream)]

    faucet.push(1)

    assert [consumer.heard for consumer in consumers] == [[1], [1]]


@virtual_time
async def test_the_loops_clock_keeps_the_pace() -> None:
    loop = asyncio.get_running_loop()
    heard: list[tuple[int, float]] = []
    is_over = loop.create_future()

    from_async_iterable(range(5)).pipe(rate_limit(10, burst=1)).subscribe(
        lambda item: heard.append((item, round(loop.time(), 6))), on_completed=lambda: is_over.set_result(None)
    )
    await is_over

    assert heard == [(0, 0), (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]


@virtual_time
async def test_disposing_while_it_waits_leaves_no_timer() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    subscription = from_async_iterable(range(5)).pipe(rate_limit(0.001)).subscribe()
    await asyncio.sleep(1)
    assert loop.pending_timers == 1

    subscription.dispose()
    await asyncio.sleep(1)

    assert loop.pending_timers == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_the_limiter_says_when_to_ask_again() -> None:
    limiter = RateLimiter[str](2, burst=1)

    assert [limiter.admit("a", 0), limiter.admit("b", 0), limiter.admit("b", 0.5)] == [0, 0.5, 0]
