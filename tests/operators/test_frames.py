"""`frames`: what a screen can show, and no timer for nothing."""

import asyncio
import weakref
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream.errors import SubscriberError
from rxstream.operators import frames
from tests.demand import Consumer, Faucet, Item
from tests.virtual_loop import VirtualTimeLoop, virtual_time

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
TEN = timedelta(seconds=10)
BOOM = OSError("boom")


def marbles(*messages: Any, disposed: float = 1000) -> list[Any]:
    clock = TestScheduler()
    source = clock.create_hot_observable(*messages)
    return clock.start(lambda: source.pipe(frames(TEN)), disposed=disposed).messages


def test_the_first_item_comes_at_once_and_the_rest_frame_by_frame() -> None:
    assert marbles(
        on_next(210, 1), on_next(211, 2), on_next(219, 3), on_next(225, 4), on_next(260, 5), on_completed(300)
    ) == [
        on_next(210, [1]),
        on_next(220, [2, 3]),
        on_next(230, [4]),
        on_next(260, [5]),
        on_completed(300),
    ]


def test_what_waits_comes_before_the_end_and_at_once() -> None:
    assert marbles(on_next(210, 1), on_next(211, 2), on_completed(212)) == [
        on_next(210, [1]),
        on_next(212, [2]),
        on_completed(212),
    ]


def test_what_waits_comes_before_an_error_too() -> None:
    assert marbles(on_next(210, 1), on_next(211, 2), on_error(212, BOOM)) == [
        on_next(210, [1]),
        on_next(212, [2]),
        on_error(212, BOOM),
    ]


def test_nothing_comes_of_nothing() -> None:
    assert marbles(on_completed(212)) == [on_completed(212)]


def test_after_a_dispose_nothing_comes() -> None:
    assert marbles(on_next(210, 1), on_next(211, 2), disposed=215) == [on_next(210, [1])]


@given(st.lists(st.integers(0, 40), max_size=30), st.booleans())
def test_every_item_is_in_one_frame_in_order_soon_and_no_two_frames_are_close(pauses: list[int], fails: bool) -> None:
    at = [210 + sum(pauses[: index + 1]) for index in range(len(pauses))]
    end = (at[-1] if at else 210) + 5
    terminal: Any = on_error(end, BOOM) if fails else on_completed(end)

    *made, last = marbles(*(on_next(time, time) for time in at), terminal, disposed=10_000)

    assert last == terminal
    assert [item for message in made for item in message.value.value] == at
    assert all(message.time <= item + 10 for message in made for item in message.value.value)
    times = [message.time for message in made]
    assert all(later - sooner >= 10 or later == end for sooner, later in pairwise(times))


@virtual_time
async def test_a_timer_is_set_only_while_something_waits() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    faucet, heard = Faucet[int](), list[list[int]]()
    faucet.stream.pipe(frames(timedelta(seconds=1))).subscribe(heard.append)

    faucet.push(1)
    assert loop.pending_timers == 0
    faucet.push(2, 3, 4)
    assert loop.pending_timers == 1
    await asyncio.sleep(1)
    assert loop.pending_timers == 0

    assert heard == [[1], [2, 3, 4]]


@virtual_time
async def test_disposing_cancels_the_timer() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    faucet = Faucet[int]()
    subscription = faucet.stream.pipe(frames(timedelta(seconds=1))).subscribe()
    faucet.push(1, 2)

    subscription.dispose()

    assert loop.pending_timers == 0
    assert faucet.disposed == 1


def test_a_disposed_subscription_keeps_nothing() -> None:
    faucet = Faucet[Item]()
    consumer = Consumer(faucet.stream.pipe(frames(TEN)))
    item = Item()
    faucet.push(Item(), item)
    left = weakref.ref(item)

    consumer.subscription.dispose()
    del item

    assert left() is None


def test_the_source_hears_the_consumers_own_demand() -> None:
    faucet = Faucet[int]()

    consumer = Consumer(faucet.stream.pipe(frames(TEN)), wants=False)

    assert faucet.gate is consumer.gate
    assert not faucet.is_wanted


def test_an_item_pushed_while_a_frame_is_shown_is_in_the_next() -> None:
    faucet, clock = Faucet[int](), TestScheduler()
    consumer = Consumer(
        faucet.stream.pipe(frames(TEN), ops.do_action(lambda frame: faucet.push(2) if frame == [1] else None)),
        clock=clock,
    )

    faucet.push(1)
    assert consumer.heard == [[1]]
    clock.advance_to(10)

    assert consumer.heard == [[1], [2]]


def test_a_subscriber_that_raises_ends_the_stream() -> None:
    faucet, clock = Faucet[int](), TestScheduler()
    errors: list[Exception] = []

    def hear(frame: list[int]) -> None:
        raise ZeroDivisionError

    faucet.stream.pipe(frames(TEN)).subscribe(hear, errors.append, scheduler=clock)
    faucet.push(1)

    assert isinstance(errors[0], SubscriberError)
    assert faucet.disposed == 1


def test_each_subscription_has_frames_of_its_own() -> None:
    faucet = Faucet[int]()
    stream = faucet.stream.pipe(frames(TEN))
    early = Consumer(stream)
    faucet.push(1)
    late = Consumer(stream)
    faucet.push(2)

    assert (early.heard, late.heard) == ([[1]], [[2]])


def test_a_hundred_thousand_items_cause_no_recursion() -> None:
    faucet = Faucet[int]()
    consumer = Consumer(faucet.stream.pipe(frames(TEN)))

    faucet.push(*range(100_000))
    faucet.complete()

    assert consumer.heard == [[0], list(range(1, 100_000))]


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_period_that_makes_no_sense_is_refused_at_once(seconds: float) -> None:
    with pytest.raises(ValueError, match="period"):
        frames(timedelta(seconds=seconds))
