"""`buffered`: what passes, what waits, and what happens at the bound."""

import asyncio
import threading
import weakref
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from rxstream.errors import BufferOverflowError, ConfigurationError, SubscriberError
from rxstream.flow import Gate, Overflow
from rxstream.operators import buffered
from rxstream.schedulers import FlowScheduler
from rxstream.schedulers.gated_scheduler import GatedScheduler
from rxstream.tokens import FinishReason, StreamEnd, StreamToken, TextDelta, ToolCallStart, UsageReport
from tests.demand import Consumer, Faucet, Item, quick_switches, turns
from tests.virtual_loop import virtual_time

BOOM = OSError("boom")


def raises(_: object) -> Any:
    raise ZeroDivisionError


def numbers(capacity: int = 4, **options: Any) -> tuple[Faucet[int], Observable[int]]:
    faucet = Faucet[int](waits=options.pop("waits", True))
    return faucet, faucet.stream.pipe(buffered(capacity, **options))


def test_items_go_straight_through_while_nobody_waits() -> None:
    faucet, stream = numbers(1)
    consumer = Consumer(stream)
    gate = faucet.gate

    faucet.push(1, 2, 3)
    faucet.complete()

    assert consumer.heard == [1, 2, 3]
    assert consumer.is_completed
    assert gate is not None
    assert gate.times_closed == 0


def test_what_waits_comes_in_order_once_it_is_wanted() -> None:
    faucet, stream = numbers()
    consumer = Consumer(stream, wants=False)
    faucet.push(1, 2, 3)

    assert consumer.heard == []
    consumer.open()
    faucet.push(4)

    assert consumer.heard == [1, 2, 3, 4]


def test_a_consumer_that_takes_one_at_a_time_gets_one_at_a_time() -> None:
    faucet, stream = numbers()
    consumer = Consumer(stream.pipe(ops.do_action(lambda _: consumer.close())))
    faucet.push(1, 2, 3)

    heard = [list(consumer.heard)]
    for _ in range(2):
        consumer.open()
        heard.append(list(consumer.heard))

    assert heard == [[1], [1, 2], [1, 2, 3]]


def test_the_source_waits_from_the_capacity_on_until_the_low_mark() -> None:
    faucet, stream = numbers(4, low=1)
    consumer = Consumer(stream.pipe(ops.do_action(lambda _: consumer.close())), wants=False)

    wanted = [(faucet.push(number), faucet.is_wanted)[1] for number in range(5)]
    again = [(consumer.open(), faucet.is_wanted)[1] for _ in range(5)]

    assert wanted == [True, True, True, False, False]
    assert again == [False, False, False, True, True]


def test_the_buffer_fills_although_the_consumer_wants_nothing() -> None:
    faucet, stream = numbers(4)

    consumer = Consumer(stream, wants=False)

    assert not consumer.gate.is_open
    assert faucet.is_wanted


@given(
    st.lists(st.sampled_from(["push", "push 3", "open", "close", "turn"]), max_size=50),
    st.sampled_from(["complete", "fail", "dispose"]),
    st.integers(1, 6),
)
def test_nothing_is_lost_reordered_or_unbounded_whatever_happens_when(
    steps: list[str], ending: str, capacity: int
) -> None:
    faucet, stream = numbers(capacity)
    consumer = Consumer(stream)
    pushed: list[int] = []

    for step in steps:
        match step:
            case "open":
                consumer.open()
            case "close":
                consumer.close()
            case "turn":
                consumer.turn()
            case _ if faucet.is_wanted:
                chunk = list(range(len(pushed), len(pushed) + (3 if step == "push 3" else 1)))
                pushed += chunk
                faucet.push(*chunk)
            case _:
                assert len(pushed) - len(consumer.heard) > capacity * 3 // 4  # it waits for a reason
        assert consumer.heard == pushed[: len(consumer.heard)]
        assert len(pushed) - len(consumer.heard) <= capacity - 1 + 3

    before = list(consumer.heard)
    match ending:
        case "complete":
            faucet.complete()
            consumer.open()
            assert (consumer.heard, consumer.is_completed) == (pushed, True)
        case "fail":
            faucet.fail(BOOM)
            assert (consumer.heard, consumer.error) == (pushed, BOOM)
        case _:
            consumer.subscription.dispose()
            consumer.open()
            assert (consumer.heard, consumer.terminals) == (before, 0)
    assert faucet.disposed == 1
    assert faucet.is_wanted


def test_completion_comes_after_what_waits_and_when_that_is_wanted() -> None:
    faucet, stream = numbers()
    consumer = Consumer(stream, wants=False)
    faucet.push(1)

    faucet.complete()
    consumer.turn()
    assert not consumer.is_completed
    consumer.open()

    assert (consumer.heard, consumer.is_completed) == ([1], True)


def test_completion_alone_needs_no_demand() -> None:
    faucet, stream = numbers()
    consumer = Consumer(stream, wants=False)

    faucet.complete()

    assert consumer.is_completed


def test_an_error_is_not_held_back_and_neither_is_what_came_before_it() -> None:
    faucet, stream = numbers()
    consumer = Consumer(stream, wants=False)
    faucet.push(1, 2)

    faucet.fail(BOOM)

    assert (consumer.heard, consumer.error) == ([1, 2], BOOM)


def test_an_error_after_the_consumer_wants_more_comes_after_what_waited() -> None:
    faucet, stream = numbers()
    consumer = Consumer(stream, wants=False)
    faucet.push(1, 2)
    consumer.gate.open(consumer)  # what waits is planned, and has not been delivered yet

    faucet.fail(BOOM)
    consumer.turn()

    assert (consumer.heard, consumer.error, consumer.terminals) == ([1, 2], BOOM, 1)


def test_disposing_while_the_source_waits_lets_go_of_it() -> None:
    faucet, stream = numbers(2)
    consumer = Consumer(stream, wants=False)
    faucet.push(1, 2)
    assert not faucet.is_wanted

    consumer.subscription.dispose()
    consumer.subscription.dispose()
    consumer.open()

    assert faucet.is_wanted
    assert faucet.disposed == 1
    assert consumer.heard == []


def test_a_disposed_subscription_keeps_nothing() -> None:
    faucet = Faucet[Item]()
    consumer = Consumer(faucet.stream.pipe(buffered(4)), wants=False)
    item = Item()
    faucet.push(item)
    left = weakref.ref(item)

    consumer.subscription.dispose()
    del item

    assert left() is None


def test_disposing_in_the_middle_of_a_delivery_ends_it() -> None:
    faucet, stream = numbers()
    consumer = Consumer(stream.pipe(ops.take(2)), wants=False)
    faucet.push(1, 2, 3)

    consumer.open()

    assert (consumer.heard, consumer.is_completed) == ([1, 2], True)
    assert faucet.disposed == 1


def test_an_item_that_is_pushed_while_another_is_delivered_waits_for_its_turn() -> None:
    faucet, stream = numbers(100)
    depth = deepest = 0

    def reenter(number: int) -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        if number < 3:
            faucet.push(number * 2 + 1, number * 2 + 2)
        depth -= 1

    consumer = Consumer(stream.pipe(ops.do_action(reenter)))
    faucet.push(0)

    assert consumer.heard == [0, 1, 2, 3, 4, 5, 6]
    assert deepest == 1


def test_an_end_within_a_delivery_comes_after_it() -> None:
    faucet, stream = numbers()
    heard: list[str] = []

    def hear(number: int) -> None:
        faucet.push(number + 1) if number < 2 else faucet.complete()
        heard.append(f"{number}")

    stream.subscribe(hear, on_completed=lambda: heard.append("end"), scheduler=GatedScheduler(TestScheduler(), Gate()))
    faucet.push(0)

    assert heard == ["0", "1", "2", "end"]


def test_a_long_delivery_lets_others_on_the_scheduler_have_their_turn() -> None:
    faucet, stream = numbers(100)
    clock = TestScheduler()
    consumer = Consumer(stream.pipe(ops.do_action(lambda _: clock.sleep(0.0004))), clock=clock, wants=False)
    faucet.push(*range(10))
    heard_by_then: list[int] = []

    def note(*_: object) -> None:
        heard_by_then.append(len(consumer.heard))

    consumer.gate.open(consumer)
    clock.schedule(note)
    clock.advance_by(1)

    assert heard_by_then == [3]
    assert consumer.heard == list(range(10))


def test_a_subscriber_that_raises_in_a_delivery_ends_the_stream() -> None:
    faucet, stream = numbers()
    errors: list[Exception] = []
    demand = Gate()
    demand.close("test")
    clock = TestScheduler()
    stream.subscribe(raises, errors.append, scheduler=GatedScheduler(clock, demand))
    faucet.push(1, 2)

    demand.open("test")
    clock.advance_by(1)

    assert isinstance(errors[0], SubscriberError)
    assert isinstance(errors[0].__cause__, ZeroDivisionError)
    assert len(errors) == 1
    assert faucet.disposed == 1


def test_a_source_that_cannot_wait_is_an_error_at_subscribe() -> None:
    subject = Subject[int]()

    consumer = Consumer(subject.pipe(ops.filter(bool), buffered(4)))

    assert isinstance(consumer.error, ConfigurationError)
    assert "CONFLATE" in str(consumer.error)
    assert not subject.observers


def test_a_source_that_is_over_when_it_begins_needs_no_gate() -> None:
    def subscribe(observer: abc.ObserverBase[int], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        observer.on_next(1)
        observer.on_completed()
        return Disposable()

    consumer = Consumer(Observable(subscribe).pipe(buffered(4)))

    assert (consumer.heard, consumer.is_completed) == ([1], True)


def test_a_source_that_cannot_wait_may_bring_as_much_as_there_is_room_for() -> None:
    clock = TestScheduler()
    consumer = Consumer(reactivex.from_iterable(range(4)).pipe(buffered(4)), clock=clock, wants=False)

    consumer.turn()
    assert consumer.error is None
    consumer.open()

    assert (consumer.heard, consumer.is_completed) == ([0, 1, 2, 3], True)


def test_a_source_that_cannot_wait_and_brings_more_is_an_error_after_what_there_was_room_for() -> None:
    consumer = Consumer(reactivex.interval(1).pipe(buffered(4)), wants=False)

    consumer.clock.advance_by(100)

    assert isinstance(consumer.error, ConfigurationError)
    assert consumer.heard == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("overflow", [overflow for overflow in Overflow if overflow is not Overflow.PAUSE])
def test_with_another_strategy_any_source_will_do(overflow: Overflow) -> None:
    subject = Subject[int]()
    consumer = Consumer(subject.pipe(buffered(4, overflow=overflow)))

    subject.on_next(1)

    assert (consumer.heard, consumer.error) == ([1], None)


@pytest.mark.parametrize(
    ("overflow", "heard"),
    [(Overflow.DROP_OLDEST, [2, 3]), (Overflow.DROP_NEWEST, [0, 1]), (Overflow.LATEST, [3])],
)
def test_what_is_dropped_is_told_and_the_source_is_not_slowed(overflow: Overflow, heard: list[int]) -> None:
    dropped: list[int] = []
    faucet, stream = numbers(2, overflow=overflow, on_drop=dropped.append, waits=False)
    consumer = Consumer(stream, wants=False)

    faucet.push(0, 1, 2, 3)
    assert faucet.is_wanted
    consumer.open()

    assert consumer.heard == heard
    assert sorted(dropped + heard) == [0, 1, 2, 3]


def test_a_full_buffer_may_be_an_error_that_comes_after_what_it_held() -> None:
    faucet, stream = numbers(2, overflow=Overflow.ERROR, waits=False)
    consumer = Consumer(stream, wants=False)

    faucet.push(0, 1)
    assert consumer.error is None
    faucet.push(2, 3)

    assert consumer.heard == [0, 1]
    assert isinstance(consumer.error, BufferOverflowError)
    assert faucet.disposed == 1


def test_text_that_waits_is_joined_but_never_across_anything_else() -> None:
    faucet = Faucet[StreamToken]()
    consumer = Consumer(faucet.stream.pipe(buffered(100, overflow=Overflow.CONFLATE)), wants=False)
    call, end = ToolCallStart("call-0", "1", "add"), StreamEnd(FinishReason.STOP)

    faucet.push(TextDelta("a"), TextDelta("b"), TextDelta("c", index=1), call, TextDelta("d", index=1))
    faucet.push(TextDelta("e", index=1), end)
    consumer.open()

    assert consumer.heard == [TextDelta("ab"), TextDelta("c", 1), call, TextDelta("de", 1), end]


def test_plain_text_is_joined_too() -> None:
    faucet = Faucet[str]()
    consumer = Consumer(faucet.stream.pipe(buffered(2, overflow=Overflow.CONFLATE)), wants=False)

    faucet.push("a", "b", "c")
    consumer.open()

    assert consumer.heard == ["abc"]


def test_what_cannot_be_joined_makes_the_source_wait() -> None:
    faucet, stream = numbers(2, overflow=Overflow.CONFLATE)
    consumer = Consumer(stream, wants=False)

    faucet.push(1, 2)

    assert not faucet.is_wanted
    consumer.open()
    assert consumer.heard == [1, 2]


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST, Overflow.LATEST])
@pytest.mark.parametrize("in_frames", [False, True])
def test_tokens_are_never_dropped_but_refused(overflow: Overflow, in_frames: bool) -> None:
    def wrap(token: StreamToken) -> Any:
        return [token] if in_frames else token

    faucet = Faucet[Any]()
    consumer = Consumer(faucet.stream.pipe(buffered(4, overflow=overflow)))

    faucet.push([], wrap(UsageReport(1)), wrap(TextDelta("a")), wrap(TextDelta("b")))

    assert consumer.heard == [[], wrap(UsageReport(1))]
    assert isinstance(consumer.error, ConfigurationError)
    assert overflow.name in str(consumer.error)


def test_a_weight_counts_instead_of_the_number() -> None:
    faucet = Faucet[bytes]()
    consumer = Consumer(faucet.stream.pipe(buffered(10, weigh=len)), wants=False)

    faucet.push(b"12345")
    assert faucet.is_wanted
    faucet.push(b"123456")
    assert not faucet.is_wanted
    consumer.open()

    assert faucet.is_wanted
    assert consumer.heard == [b"12345", b"123456"]


@pytest.mark.parametrize(
    "options", [{"weigh": raises}, {"on_drop": raises, "overflow": Overflow.LATEST, "capacity": 1}]
)
def test_what_the_callers_functions_raise_ends_the_stream(options: dict[str, Any]) -> None:
    faucet, stream = numbers(**options)
    consumer = Consumer(stream, wants=False)

    faucet.push(1, 2)

    assert isinstance(consumer.error, ZeroDivisionError)
    assert faucet.disposed == 1


@pytest.mark.parametrize("options", [{"capacity": 0}, {"capacity": 4, "low": 4}, {"capacity": 4, "low": 5}])
def test_marks_that_make_no_sense_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"capacity|mark"):
        buffered(**options)


def test_each_subscription_has_a_queue_of_its_own() -> None:
    faucet, stream = numbers(2)
    slow, quick = Consumer(stream, wants=False), Consumer(stream)

    faucet.push(1, 2)
    slow.open()

    assert slow.heard == quick.heard == [1, 2]
    assert faucet.subscribed == 2


def test_a_hundred_thousand_items_cause_no_recursion() -> None:
    faucet, stream = numbers(1_000_000)
    consumer = Consumer(stream.pipe(buffered(1_000_000)), wants=False)

    faucet.push(*range(100_000))
    consumer.gate.open(consumer)
    consumer.clock.advance_by(1)

    assert consumer.heard == list(range(100_000))


@virtual_time
async def test_without_a_gate_downstream_nothing_ever_waits() -> None:
    heard: list[int] = []

    reactivex.of(1, 2, 3).pipe(buffered(1)).subscribe(heard.append)
    assert heard == []
    await turns()

    assert heard == [1, 2, 3]


@virtual_time
async def test_demand_goes_through_one_buffer_after_another() -> None:
    faucet = Faucet[int]()
    stream = faucet.stream.pipe(buffered(2), ops.map(lambda item: item), buffered(3))
    gate, heard = Gate(), list[int]()
    gate.close("test")
    stream.subscribe(heard.append, scheduler=FlowScheduler(asyncio.get_running_loop(), gate))

    sent = 0
    while faucet.is_wanted:
        faucet.push(sent)
        sent += 1
        assert sent < 100
    gate.open("test")
    await turns()

    assert sent == 3 + 2
    assert heard == [0, 1, 2, 3, 4]
    assert faucet.is_wanted


def test_two_threads_at_once_lose_nothing_and_never_overlap() -> None:
    faucet, stream = numbers(16)
    scheduler = EventLoopScheduler()
    demand, heard, is_over = Gate(), list[int](), threading.Event()
    at_once = most = 0

    def hear(number: int) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        heard.append(number)
        if number % 7 == 0:
            demand.close("test")
        at_once -= 1

    def produce() -> None:
        for number in range(2_000):
            wanted = threading.Event()
            assert faucet.gate is not None
            faucet.gate.when_open(wanted.set)
            assert wanted.wait(10)
            faucet.push(number)
        faucet.complete()

    stream.subscribe(hear, on_completed=is_over.set, scheduler=GatedScheduler(scheduler, demand))
    producer = threading.Thread(target=produce)
    with quick_switches():
        producer.start()
        while not is_over.is_set():
            demand.open("test")
        producer.join()
    scheduler.dispose()

    assert heard == list(range(2_000))
    assert most == 1
