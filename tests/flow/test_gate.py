"""Gate: closed by whoever cannot take more, waited at by whoever produces."""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.flow import AdaptiveReadSize, Gate, wake
from rxstream.flow.gate import call_each
from tests.flow.helpers import HookedLock, leave_behind, turns


def waiting_at(gate: Gate) -> int:
    """How many the gate would have to tell that it opens."""
    return len(vars(gate)["_listeners"])


async def test_an_open_gate_lets_through_without_a_turn_of_the_loop() -> None:
    gate, turned = Gate(), list[bool]()
    asyncio.get_running_loop().call_soon(turned.append, True)

    await gate.wait()

    assert gate.is_open
    assert turned == []


async def test_whoever_waits_goes_on_when_it_opens() -> None:
    gate = Gate()
    gate.close("buffer")
    waiters = [asyncio.create_task(gate.wait()) for _ in range(3)]

    await turns()
    assert not any(waiter.done() for waiter in waiters)
    gate.open("buffer")
    await turns()

    assert all(waiter.done() for waiter in waiters)


async def test_it_opens_when_the_last_holder_lets_go() -> None:
    gate = Gate()
    gate.close("one")
    gate.close("other")
    waiter = asyncio.create_task(gate.wait())

    gate.open("one")
    await turns()
    assert not gate.is_open
    assert not waiter.done()
    gate.open("other")
    await turns()

    assert gate.is_open
    assert waiter.done()


def test_closing_twice_and_opening_what_one_does_not_hold_change_nothing() -> None:
    gate = Gate()

    gate.open("nobody")
    assert gate.is_open
    gate.close("one")
    gate.close("one")
    gate.open("nobody")
    assert not gate.is_open
    gate.open("one")

    assert gate.is_open
    assert gate.times_closed == 1


async def test_a_gate_that_is_closed_again_at_once_holds_who_was_on_the_way() -> None:
    gate = Gate()
    gate.close("one")
    waiter = asyncio.create_task(gate.wait())
    await turns()

    gate.open("one")
    gate.close("one")
    await turns()
    assert not waiter.done()
    gate.open("one")
    await turns()

    assert waiter.done()


async def test_a_gate_is_open_only_while_its_parents_are() -> None:
    grandparent = Gate()
    parent = Gate(grandparent)
    gate = Gate(parent)
    for closed in (grandparent, parent, gate):
        closed.close("one")
    waiter = asyncio.create_task(gate.wait())

    for opened in (gate, grandparent, parent):
        assert not gate.is_open
        await turns()
        assert not waiter.done()
        opened.open("one")
    await turns()

    assert gate.is_open
    assert waiter.done()


def test_what_closes_a_gate_leaves_its_parent_open() -> None:
    parent = Gate()
    gate = Gate(parent)

    gate.close("one")

    assert parent.is_open


def test_a_source_that_honours_a_gate_honours_its_parents() -> None:
    grandparent = Gate()
    parent = Gate(grandparent)
    gate, sibling = Gate(parent), Gate(parent)

    gate.honour()

    assert [gate.is_honoured, parent.is_honoured, grandparent.is_honoured] == [True, True, True]
    assert not sibling.is_honoured


class Counter:
    """An account for a source to bring along."""

    def add(self, items: int = 1, size: int = 0) -> None:
        """Count nothing."""

    def release(self, items: int = 1, size: int = 0) -> None:
        """Count nothing."""


def test_a_source_brings_its_account_to_every_gate_down_the_stream() -> None:
    behind_a_queue, parent = Gate(), Gate()
    gate = Gate(parent, downstream=behind_a_queue)
    account = Counter()

    gate.honour()
    assert gate.account is None
    gate.honour(account)
    gate.honour()

    assert gate.account is parent.account is behind_a_queue.account is account


def test_what_is_offered_nearest_to_the_source_is_found_first() -> None:
    downstream, grandparent = Gate(), Gate()
    parent = Gate(grandparent)
    gate = Gate(parent, downstream=downstream)
    offers = [AdaptiveReadSize() for _ in range(4)]

    found = [gate.find_offered()]
    for place, offer in zip((downstream, grandparent, parent, gate), offers, strict=True):
        place.offered = offer
        found.append(gate.find_offered())

    assert found == [None, *offers]
    assert Gate(Gate()).find_offered() is None


async def test_who_is_woken_from_within_its_loop_goes_on_in_the_very_next_turn() -> None:
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    assert wake(loop, waiter)
    assert waiter.done()
    assert wake(loop, waiter)  # a second time does no harm


async def test_who_is_woken_from_another_loop_goes_on_in_its_own() -> None:
    loop = asyncio.new_event_loop()
    waiter = loop.create_future()

    assert wake(loop, waiter)
    assert not waiter.done()
    await asyncio.to_thread(loop.run_until_complete, waiter)
    loop.close()
    assert waiter.done()
    assert not wake(loop, waiter)


def test_it_counts_how_often_and_how_long_it_was_closed() -> None:
    now = 100.0
    gate = Gate(now=lambda: now)

    figures = [(gate.times_closed, gate.seconds_closed)]
    gate.close("one")
    now = 102.0
    gate.close("other")
    figures.append((gate.times_closed, gate.seconds_closed))
    gate.open("one")
    now = 103.0
    figures.append((gate.times_closed, gate.seconds_closed))
    gate.open("other")
    now = 110.0
    figures.append((gate.times_closed, gate.seconds_closed))
    gate.close("one")
    now = 110.5
    gate.open("one")
    figures.append((gate.times_closed, gate.seconds_closed))

    assert figures == [(0, 0.0), (1, 2.0), (1, 3.0), (1, 3.0), (2, 3.5)]


def test_the_figures_leave_out_what_the_parent_was_closed() -> None:
    now = 0.0
    parent = Gate(now=lambda: now)
    gate = Gate(parent, now=lambda: now)

    parent.close("one")
    now = 5.0
    parent.open("one")

    assert (gate.times_closed, gate.seconds_closed) == (0, 0.0)
    assert (parent.times_closed, parent.seconds_closed) == (1, 5.0)


async def test_a_waiter_that_is_cancelled_leaves_nothing_behind() -> None:
    gate = Gate()
    gate.close("one")
    cancelled, patient = asyncio.create_task(gate.wait()), asyncio.create_task(gate.wait())
    await turns()

    cancelled.cancel()
    await turns()
    assert cancelled.cancelled()
    assert waiting_at(gate) == 1
    gate.open("one")
    await turns()

    assert patient.done()
    assert waiting_at(gate) == 0


async def test_a_waiter_that_is_cancelled_as_the_gate_opens_is_cancelled() -> None:
    gate, complaints = Gate(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    gate.close("one")
    waiter = asyncio.create_task(gate.wait())
    await turns()

    gate.open("one")
    waiter.cancel()
    await turns()

    assert waiter.cancelled()
    assert complaints == []


def test_a_call_comes_once_when_the_gate_and_its_parents_are_open() -> None:
    parent = Gate()
    gate = Gate(parent)
    calls = list[str]()
    gate.when_open(lambda: calls.append("open already"))
    parent.close("one")
    gate.close("one")
    gate.when_open(lambda: calls.append("opened"))

    gate.open("one")
    assert calls == ["open already"]
    parent.open("one")
    parent.close("one")
    parent.open("one")

    assert calls == ["open already", "opened"]


def test_a_call_that_is_called_off_does_not_come() -> None:
    parent = Gate()
    gate = Gate(parent)
    calls = list[str]()
    gate.close("one")
    stop_early = gate.when_open(lambda: calls.append("early"))
    stop_late = gate.when_open(lambda: calls.append("late"))
    parent.close("one")

    stop_early()
    gate.open("one")
    assert waiting_at(parent) == 1
    stop_late()
    stop_late()
    assert waiting_at(gate) == waiting_at(parent) == 0
    parent.open("one")

    assert calls == []


def test_a_call_that_is_called_off_as_the_gate_opens_does_not_come() -> None:
    gate = Gate()
    calls = list[str]()
    gate.close("one")
    stop = gate.when_open(lambda: calls.append("told"))

    listeners = gate.let_go("one")
    stop()
    call_each(listeners)

    assert calls == []


def test_a_call_that_is_called_off_on_its_way_to_the_parent_leaves_nothing_there() -> None:
    parent = Gate()
    gate = Gate(parent)
    gate.close("one")
    parent.close("one")
    stop = gate.when_open(lambda: None)
    vars(parent)["_lock"] = HookedLock(stop)

    gate.open("one")

    assert waiting_at(parent) == 0


def test_a_call_may_close_the_gate_again_and_ask_again() -> None:
    gate = Gate()
    gate.close("one")
    calls = list[str]()

    def take_one() -> None:
        calls.append("took")
        gate.close("one")
        gate.when_open(take_one)

    gate.when_open(take_one)
    for _ in range(3):
        gate.open("one")

    assert calls == ["took"] * 3


def test_a_call_that_raises_keeps_nobody_else_from_being_called() -> None:
    gate = Gate()
    gate.close("one")
    calls = list[str]()
    gate.when_open(lambda: calls.append("first"))
    gate.when_open(lambda: 1 // 0)
    gate.when_open(lambda: calls.append("last"))

    with pytest.raises(ZeroDivisionError):
        gate.open("one")

    assert calls == ["first", "last"]


def test_letting_go_leaves_it_to_the_caller_when_to_tell() -> None:
    gate = Gate()
    gate.close("one")
    gate.close("other")
    calls = list[str]()
    gate.when_open(lambda: calls.append("told"))

    assert gate.let_go("one") == []
    listeners = gate.let_go("other")
    assert gate.is_open
    assert calls == []
    call_each(listeners)

    assert calls == ["told"]
    assert gate.let_go("other") == []


async def test_a_gate_that_opens_between_the_look_and_the_lock_is_not_waited_at_for_ever() -> None:
    gate = Gate()
    gate.close("one")
    vars(gate)["_lock"] = HookedLock(lambda: gate.open("one"))

    waiter = asyncio.create_task(gate.wait())
    await turns()

    assert waiter.done()


STEPS = st.lists(
    st.tuples(st.sampled_from(["close", "open"]), st.sampled_from(["gate", "parent"]), st.sampled_from(["a", "b"]))
    | st.tuples(st.sampled_from(["wait", "cancel", "turn", "settle"]), st.none(), st.integers(0, 3)),
    max_size=60,
)


@given(steps=STEPS)
def test_no_wake_up_is_lost_and_none_is_made_up(steps: list[tuple[str, str | None, Any]]) -> None:
    parent = Gate()
    gate = Gate(parent)
    gates = {"gate": gate, "parent": parent}
    held: set[tuple[str | None, Any]] = set()
    waiters = dict[asyncio.Task[None], bool]()  # and whether the gate was ever open since it came

    async def play() -> None:
        for act, name, detail in steps:
            match act:
                case "close":
                    gates[name or ""].close(detail)
                    held.add((name, detail))
                case "open":
                    gates[name or ""].open(detail)
                    held.discard((name, detail))
                case "wait":
                    waiters[asyncio.create_task(gate.wait())] = False
                case "cancel" if waiters:
                    waiter = tuple(waiters)[int(detail) % len(waiters)]
                    waiter.cancel()
                    del waiters[waiter]
                case "turn":
                    await turns(1)
                case _:
                    await turns()
                    if not held:
                        assert all(waiter.done() for waiter in waiters)
            assert gate.is_open == (not held)
            for waiter, was_open in list(waiters.items()):
                waiters[waiter] = was_open or not held
                assert not waiter.done() or waiters[waiter]
        for name, holder in held:
            gates[name or ""].open(holder)
        await turns()
        assert all(waiter.done() for waiter in waiters)
        assert waiting_at(gate) == 0
        assert waiting_at(parent) == 0

    asyncio.run(play())


@pytest.mark.usefixtures("hasty_threads")
def test_no_wake_up_is_lost_between_threads() -> None:
    parent = Gate()
    gate = Gate(parent)
    passed = [0, 0]

    async def source(number: int) -> None:
        for _ in range(100):
            await gate.wait()
            passed[number] += 1
            await asyncio.sleep(0)

    async def sources(number: int) -> None:
        await asyncio.gather(*(source(number) for _ in range(3)))

    def hold(which: Gate, holder: str, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(300):
            which.close(holder)
            if chance.random() < 0.5:
                which.open(holder)
        which.open(holder)

    threads = [threading.Thread(target=asyncio.run, args=[sources(number)], daemon=True) for number in (0, 1)]
    for number, which in enumerate((gate, gate, parent)):
        threads.append(threading.Thread(target=hold, args=[which, f"holder {number}", number], daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert passed == [300, 300]
    assert gate.is_open
    assert waiting_at(gate) == 0
    assert waiting_at(parent) == 0


def test_a_loop_that_has_ended_keeps_nobody_else_from_waking_up() -> None:
    gate = Gate()
    gate.close("one")
    loops = [asyncio.new_event_loop() for _ in range(4)]
    waiters = [loop.create_task(gate.wait()) for loop in loops]
    for loop in loops:
        loop.run_until_complete(turns())
    ended = loops[::2]
    for loop in ended:
        leave_behind(loop)

    gate.open("one")
    for loop, waiter in zip(loops, waiters, strict=True):
        if loop not in ended:
            loop.run_until_complete(waiter)
            loop.close()

    assert [waiter.done() for waiter in waiters] == [False, True, False, True]


def test_a_loop_that_ends_as_the_gate_opens_keeps_nobody_else_from_waking_up(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    gate.close("one")
    ending, loop = asyncio.new_event_loop(), asyncio.new_event_loop()
    left = ending.create_task(gate.wait())
    waiters = [loop.create_task(gate.wait()) for _ in range(8)]
    ending.run_until_complete(turns())
    loop.run_until_complete(turns())
    wake_up = ending.call_soon_threadsafe

    def end_first(callback: Callable[..., object]) -> asyncio.Handle:
        leave_behind(ending)
        return wake_up(callback)

    monkeypatch.setattr(ending, "call_soon_threadsafe", end_first)
    gate.open("one")
    loop.run_until_complete(turns())
    loop.close()

    assert all(waiter.done() for waiter in waiters)
    assert not left.done()


def test_an_error_of_a_loop_that_is_open_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.new_event_loop()

    def fail(_: Callable[..., object]) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(loop, "call_soon_threadsafe", fail)

    with pytest.raises(RuntimeError, match="something else"):
        wake(loop, loop.create_future())
    loop.close()


def test_a_waiter_may_be_collected_while_the_gate_is_busy() -> None:
    """The collector runs when it likes, so also while the gate is locked by the very thread that it runs in."""
    loop = asyncio.new_event_loop()
    abandoned = list[Coroutine[Any, Any, None]]()

    def now() -> float:
        while abandoned:
            abandoned.pop().close()
        return 0.0

    gate = Gate(now=now)
    gate.close("one")
    coroutine = gate.wait()
    waiter = loop.create_task(coroutine)
    loop.run_until_complete(turns())
    abandoned.append(coroutine)
    worker = threading.Thread(target=gate.open, args=["one"], daemon=True)

    worker.start()
    worker.join(10)

    assert not worker.is_alive()
    assert gate.is_open
    assert not waiter.done()
    leave_behind(loop)
