"""`deliver_on`: everything on one scheduler, many items a turn, within bounds."""

import asyncio
import threading
from typing import TypeVar

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import abc, typing
from reactivex.scheduler import EventLoopScheduler, ImmediateScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from rxstream.errors import BufferOverflowError, ConfigurationError
from rxstream.flow import Overflow
from rxstream.operators import deliver_on
from tests.demand import Consumer, Faucet, quick_switches

S = TypeVar("S")
BOOM = OSError("boom")


class CountingScheduler(TestScheduler):
    """Counts what is scheduled."""

    scheduled = 0

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[S], state: S | None = None
    ) -> abc.DisposableBase:
        self.scheduled += 1
        return super().schedule_absolute(duetime, action, state)


def test_everything_is_delivered_on_the_scheduler_many_items_a_turn() -> None:
    faucet, clock = Faucet[int](), CountingScheduler()
    consumer = Consumer(faucet.stream.pipe(deliver_on(clock)))

    faucet.push(*range(100))
    faucet.complete()
    assert consumer.heard == []
    clock.advance_by(1)

    assert (consumer.heard, consumer.is_completed) == (list(range(100)), True)
    assert clock.scheduled == 1


def test_the_source_waits_at_the_capacity_until_the_scheduler_has_taken_enough() -> None:
    faucet, clock = Faucet[int](), TestScheduler()
    Consumer(faucet.stream.pipe(deliver_on(clock, 4, low=1)))

    wanted = [(faucet.push(number), faucet.is_wanted)[1] for number in range(5)]
    clock.advance_by(1)

    assert wanted == [True, True, True, False, False]
    assert faucet.is_wanted


def test_an_error_comes_on_the_scheduler_after_what_waits() -> None:
    faucet, clock = Faucet[int](), TestScheduler()
    consumer = Consumer(faucet.stream.pipe(deliver_on(clock)), wants=False)
    faucet.push(1)
    clock.advance_by(1)

    faucet.push(2)
    faucet.fail(BOOM)
    assert consumer.error is None
    clock.advance_by(1)

    assert (consumer.heard, consumer.error) == ([1, 2], BOOM)


def test_a_long_turn_lets_the_scheduler_do_something_else_in_between() -> None:
    faucet, clock = Faucet[int](), CountingScheduler()
    heard: list[int] = []

    def hear(number: int) -> None:
        heard.append(number)
        clock.sleep(0.0006)

    faucet.stream.pipe(deliver_on(clock)).subscribe(hear, scheduler=clock)
    faucet.push(*range(6))
    clock.advance_by(1)

    assert heard == list(range(6))
    assert clock.scheduled == 3


@given(st.lists(st.sampled_from(["push", "open", "close", "turn"]), max_size=40), st.booleans())
def test_order_is_kept_and_nothing_lost_whoever_waits(steps: list[str], fails: bool) -> None:
    faucet, clock = Faucet[int](), TestScheduler()
    consumer = Consumer(faucet.stream.pipe(deliver_on(clock, 3)))
    pushed = 0

    for step in steps:
        match step:
            case "open":
                consumer.open()
            case "close":
                consumer.close()
            case "turn":
                clock.advance_by(1)
            case _ if faucet.is_wanted:
                faucet.push(pushed)
                pushed += 1
            case _:
                assert pushed - len(consumer.heard) > 2
        assert pushed - len(consumer.heard) <= 3
    if fails:
        faucet.fail(BOOM)
    else:
        faucet.complete()
        consumer.open()
    clock.advance_by(1)

    assert consumer.heard == list(range(pushed))
    assert consumer.terminals == 1


def test_a_disposed_delivery_does_nothing_when_its_turn_comes() -> None:
    faucet, clock = Faucet[int](), TestScheduler()
    consumer = Consumer(faucet.stream.pipe(deliver_on(clock, 1)))
    faucet.push(1)
    assert not faucet.is_wanted

    consumer.subscription.dispose()
    clock.advance_by(1)

    assert consumer.heard == []
    assert faucet.is_wanted
    assert faucet.disposed == 1


def test_a_hot_source_needs_another_strategy() -> None:
    subject, clock = Subject[int](), TestScheduler()

    refused = Consumer(subject.pipe(deliver_on(clock)))
    overflowing = Consumer(subject.pipe(deliver_on(clock, 1, overflow=Overflow.ERROR)))
    subject.on_next(1)
    subject.on_next(2)
    assert not subject.observers
    clock.advance_by(1)

    assert isinstance(refused.error, ConfigurationError)
    assert (overflowing.heard, type(overflowing.error)) == ([1], BufferOverflowError)


def test_a_scheduler_that_runs_at_once_causes_no_recursion() -> None:
    faucet = Faucet[int]()
    consumer = Consumer(faucet.stream.pipe(deliver_on(ImmediateScheduler())))

    faucet.push(*range(10_000))

    assert consumer.heard == list(range(10_000))


def test_items_cross_to_another_thread_in_order_and_within_bounds() -> None:
    faucet, scheduler = Faucet[int](), EventLoopScheduler()
    heard: list[int] = []
    threads: set[threading.Thread] = set()
    is_over = threading.Event()
    sent = most = 0

    def hear(number: int) -> None:
        nonlocal most
        most = max(most, sent - number)
        heard.append(number)
        threads.add(threading.current_thread())

    faucet.stream.pipe(deliver_on(scheduler, 16)).subscribe(hear, on_completed=is_over.set, scheduler=TestScheduler())
    assert faucet.gate is not None
    with quick_switches():
        for number in range(2_000):
            wanted = threading.Event()
            faucet.gate.when_open(wanted.set)
            assert wanted.wait(10)
            sent = number
            faucet.push(sent)
        faucet.complete()
        assert is_over.wait(10)
    scheduler.dispose()

    assert heard == list(range(2_000))
    assert len(threads) == 1
    assert threading.current_thread() not in threads
    assert most <= 16


async def test_a_plain_asyncio_scheduler_is_reached_safely_from_another_thread() -> None:
    loop = asyncio.get_running_loop()
    heard: list[int] = []
    is_over = loop.create_future()
    elsewhere = EventLoopScheduler()
    source = reactivex.range(0, 100, 1, elsewhere)

    source.pipe(deliver_on(AsyncIOScheduler(loop), overflow=Overflow.ERROR)).subscribe(
        heard.append, is_over.set_exception, lambda: is_over.set_result(None)
    )
    await is_over
    elsewhere.dispose()

    assert heard == list(range(100))


def test_marks_that_make_no_sense_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="capacity"):
        deliver_on(TestScheduler(), 0)
