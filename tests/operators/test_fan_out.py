"""`fan_out`: one source, several consumers, each with its own troubles."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from rxstream.errors import BufferOverflowError, ConfigurationError, SubscriberError
from rxstream.flow import Overflow
from rxstream.operators import buffered, fan_out
from rxstream.sinks import iterate
from rxstream.sources import from_async_iterable
from rxstream.tokens import TextDelta
from tests.demand import Consumer, Faucet, quick_switches
from tests.virtual_loop import virtual_time

BOOM = OSError("boom")


def test_everybody_gets_everything_of_one_subscription() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out())
    consumers = [Consumer(shared) for _ in range(3)]

    faucet.push(1, 2, 3)
    faucet.complete()

    assert faucet.subscribed == 1
    assert [consumer.heard for consumer in consumers] == [[1, 2, 3]] * 3
    assert all(consumer.is_completed for consumer in consumers)


def test_the_source_goes_at_the_pace_of_the_slowest() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out(2))
    quick, slow = Consumer(shared), Consumer(shared, wants=False)

    faucet.push(1, 2)
    assert (quick.heard, slow.heard, faucet.is_wanted) == ([1, 2], [], False)
    slow.open()

    assert (slow.heard, faucet.is_wanted) == ([1, 2], True)


@given(
    st.lists(st.tuples(st.sampled_from(["push", "open", "close", "join", "leave"]), st.integers(0, 3)), max_size=50),
    st.integers(0, 3),
    st.sampled_from(["complete", "fail"]),
)
def test_each_consumer_gets_all_from_where_it_joined_whatever_the_others_do(
    steps: list[tuple[str, int]], replay: int, ending: str
) -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out(3, replay=replay))
    first = Consumer(shared)
    consumers: list[tuple[Consumer, int]] = [(first, 0)]
    sent = 0

    for step, which in steps:
        consumer, _ = consumers[which % len(consumers)]
        match step:
            case "open":
                consumer.open()
            case "close":
                consumer.close()
            case "join":
                consumers.append((Consumer(shared), max(0, sent - replay)))
            case "leave" if consumer is not first:
                consumer.subscription.dispose()
                consumers = [other for other in consumers if other[0] is not consumer]
            case "push" if faucet.is_wanted:
                faucet.push(sent)
                sent += 1
            case _:
                continue
        for other, since in consumers:
            assert other.heard == list(range(since, since + len(other.heard)))
            assert sent - since - len(other.heard) <= 3
    if ending == "fail":
        faucet.fail(BOOM)
    else:
        faucet.complete()
        for consumer, _ in consumers:
            consumer.open()

    assert [consumer.heard for consumer, _ in consumers] == [list(range(since, sent)) for _, since in consumers]
    assert all(consumer.terminals == 1 for consumer, _ in consumers)
    assert (faucet.subscribed, faucet.disposed) == (1, 1)


def test_behind_a_buffer_of_its_own_a_slow_consumer_slows_nobody() -> None:
    faucet = Faucet[TextDelta]()
    shared = faucet.stream.pipe(fan_out(2, overflow=Overflow.CONFLATE))
    quick, slow = Consumer(shared), Consumer(shared, wants=False)

    faucet.push(*[TextDelta("a")] * 5)
    assert faucet.is_wanted
    slow.open()

    assert quick.heard == [TextDelta("a")] * 5
    assert slow.heard == [TextDelta("aaaaa")]


def test_one_consumer_may_have_a_strategy_of_its_own() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out(2))
    exact, latest = Consumer(shared), Consumer(shared.pipe(buffered(1, overflow=Overflow.LATEST)), wants=False)

    faucet.push(1, 2, 3, 4)
    assert faucet.is_wanted
    latest.open()

    assert (exact.heard, latest.heard) == ([1, 2, 3, 4], [4])


def test_who_falls_behind_may_get_an_error_that_is_its_own() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out(2, overflow=Overflow.ERROR))
    quick, slow = Consumer(shared), Consumer(shared, wants=False)

    faucet.push(1, 2, 3)
    faucet.complete()

    assert isinstance(slow.error, BufferOverflowError)
    assert slow.heard == [1, 2]
    assert (quick.heard, quick.is_completed) == ([1, 2, 3], True)


def test_who_comes_late_gets_a_bounded_tail_first() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out(replay=2))
    Consumer(shared)
    faucet.push(1, 2, 3)

    late, waiting = Consumer(shared), Consumer(shared, wants=False)
    faucet.push(4)
    waiting.open()

    assert late.heard == waiting.heard == [2, 3, 4]


def test_without_a_replay_who_comes_late_gets_what_comes_from_there_on() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out())
    Consumer(shared)
    faucet.push(1)

    late = Consumer(shared)
    faucet.push(2)

    assert late.heard == [2]


def test_the_source_may_wait_for_a_number_of_consumers() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out(consumers=2))

    subscribed = [(Consumer(shared), faucet.subscribed)[1] for _ in range(3)]

    assert subscribed == [0, 1, 1]


def test_the_last_one_to_leave_disposes_the_source_and_the_next_begins_anew() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out(replay=5))
    consumers = [Consumer(shared), Consumer(shared)]
    faucet.push(1)

    disposed = [(consumer.subscription.dispose(), faucet.disposed)[1] for consumer in consumers]
    again = Consumer(shared)
    faucet.push(2)

    assert disposed == [0, 1]
    assert (faucet.subscribed, again.heard) == (2, [2])


def test_after_the_end_the_next_begins_anew_while_others_still_drain() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out(replay=5))
    slow = Consumer(shared, wants=False)
    faucet.push(1)
    faucet.complete()

    again = Consumer(shared)
    faucet.push(2)
    slow.open()

    assert (slow.heard, slow.is_completed) == ([1], True)
    assert (again.heard, again.is_completed) == ([2], False)


def test_who_leaves_lets_go_of_the_source() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out(1))
    quick, slow = Consumer(shared), Consumer(shared, wants=False)
    faucet.push(1)
    assert not faucet.is_wanted

    slow.subscription.dispose()
    faucet.push(2)

    assert faucet.is_wanted
    assert quick.heard == [1, 2]


def test_leaving_while_an_item_goes_round_hurts_nobody() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out())
    first, second, third = Consumer(shared), Consumer(shared.pipe(ops.take(1))), Consumer(shared)

    faucet.push(1, 2)

    assert (first.heard, second.heard, third.heard) == ([1, 2], [1], [1, 2])


def test_a_consumer_that_raises_hurts_nobody_else() -> None:
    faucet, errors = Faucet[int](), list[Exception]()

    def hear(_: int) -> None:
        raise BOOM

    shared = faucet.stream.pipe(fan_out())
    before, after = Consumer(shared), None
    shared.subscribe(hear, errors.append, scheduler=TestScheduler())
    after = Consumer(shared)

    faucet.push(1, 2)

    assert before.heard == after.heard == [1, 2]
    assert [(type(error), error.__cause__) for error in errors] == [(SubscriberError, BOOM)]


def test_an_item_that_is_pushed_by_a_consumer_goes_round_in_its_turn() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out())
    first = Consumer(shared.pipe(ops.do_action(lambda item: faucet.push(2) if item == 1 else None)))
    second = Consumer(shared)

    faucet.push(1)

    assert first.heard == [1, 2]
    assert sorted(second.heard) == [1, 2]


def test_leaving_as_soon_as_the_tail_comes_leaves_no_subscription_behind() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out(replay=1))
    only = Consumer(shared)
    faucet.push(1)

    late = Consumer(shared.pipe(ops.take(1)))
    only.subscription.dispose()

    assert (late.heard, late.is_completed) == ([1], True)
    assert faucet.disposed == 1


def test_a_source_that_cannot_wait_is_an_error_for_everybody() -> None:
    hot = Subject[int]()
    shared = hot.pipe(fan_out(consumers=2))
    consumers = [Consumer(shared), Consumer(shared)]

    assert [type(consumer.error) for consumer in consumers] == [ConfigurationError] * 2
    assert not hot.observers


def test_tokens_are_never_dropped_but_refused() -> None:
    faucet = Faucet[TextDelta]()
    consumer = Consumer(faucet.stream.pipe(fan_out(overflow=Overflow.LATEST)))

    faucet.push(TextDelta("a"))

    assert isinstance(consumer.error, ConfigurationError)


def test_joining_from_another_thread_misses_nothing_and_gets_nothing_twice() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(fan_out(10_000, replay=10_000))
    first = Consumer(shared)
    late: list[Consumer] = []

    def join() -> None:
        late.extend(Consumer(shared) for _ in range(20))

    joiner = threading.Thread(target=join)
    with quick_switches():
        joiner.start()
        for number in range(2_000):
            faucet.push(number)
        joiner.join()
    faucet.complete()
    for consumer in late:
        consumer.turn()

    assert first.heard == list(range(2_000))
    assert [consumer.heard for consumer in late] == [first.heard] * 20


@virtual_time
async def test_two_loops_over_one_stream_go_at_the_pace_of_the_slower() -> None:
    made: list[int] = []

    async def numbers() -> AsyncGenerator[int]:
        for number in range(100):
            made.append(number)
            yield number

    shared = from_async_iterable(numbers()).pipe(fan_out(4, consumers=2))

    async def take(seconds: float) -> list[int]:
        taken: list[int] = []
        async with iterate(shared, capacity=1) as items:
            async for item in items:
                taken.append(item)
                assert len(made) - len(taken) <= 12 or seconds == 0
                await asyncio.sleep(seconds)
        return taken

    assert await asyncio.gather(take(0), take(1)) == [list(range(100))] * 2


@pytest.mark.parametrize(
    "options",
    [{"capacity": 0}, {"capacity": 4, "low": 4}, {"capacity": 4, "replay": 5}, {"replay": -1}, {"consumers": 0}],
)
def test_numbers_that_make_no_sense_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"capacity|mark|replayed|consumers"):
        fan_out(**options)


def test_an_empty_stream_ends_for_everybody() -> None:
    def subscribe(observer: abc.ObserverBase[int], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        observer.on_completed()
        return Disposable()

    shared = Observable(subscribe).pipe(fan_out(consumers=2))
    consumers = [Consumer(shared), Consumer(shared)]

    assert all(consumer.is_completed for consumer in consumers)
