"""`FlowScheduler`: a gate that travels upstream, and an asyncio scheduler for every thread."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import reactivex
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.scheduler import ImmediateScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.testing import TestScheduler

from rxstream.flow import Gate
from rxstream.schedulers import BufferingScheduler, FlowScheduler, ThrottlingScheduler, gate_of
from tests.schedulers.benches import virtual_loop
from tests.virtual_loop import virtual_time


@virtual_time
async def test_it_makes_a_gate_of_its_own_or_takes_the_one_it_is_given() -> None:
    gate = Gate()

    assert FlowScheduler(virtual_loop(), gate).gate is gate
    assert FlowScheduler(virtual_loop()).gate is not FlowScheduler(virtual_loop()).gate


@virtual_time
async def test_its_gate_is_closed_while_that_of_its_parent_is() -> None:
    parent = FlowScheduler(virtual_loop())
    child = FlowScheduler(virtual_loop(), parent=parent)

    parent.gate.close("somebody further down")
    assert not child.gate.is_open
    parent.gate.open("somebody further down")
    child.gate.close("the stage itself")

    assert not child.gate.is_open
    assert parent.gate.is_open


@virtual_time
async def test_gate_of_finds_the_gate_of_every_scheduler_that_carries_one() -> None:
    flow = FlowScheduler(virtual_loop())
    buffering = BufferingScheduler(flow, count=1)

    assert gate_of(flow) is flow.gate
    assert gate_of(buffering) is buffering.gate
    assert gate_of(ThrottlingScheduler(buffering, timedelta(seconds=1))) is buffering.gate


@virtual_time
async def test_gate_of_finds_none_where_there_is_none() -> None:
    assert gate_of(None) is None
    assert gate_of(TestScheduler()) is None
    assert gate_of(AsyncIOScheduler(virtual_loop())) is None


TEN_STOCK_OPERATORS: list[Callable[[Observable[Any]], Observable[Any]]] = [
    ops.map(str),
    ops.filter(bool),
    ops.scan(max),
    ops.buffer_with_count(2),
    ops.flat_map(reactivex.from_iterable),
    ops.debounce(0.1),
    ops.distinct_until_changed(),
    ops.observe_on(ImmediateScheduler()),
    ops.retry(2),
    ops.take(5),
]


@virtual_time
async def test_the_gate_reaches_the_source_through_stock_operators() -> None:
    found: list[Gate | None] = []

    def subscribe(observer: abc.ObserverBase[int], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        found.append(gate_of(scheduler))
        observer.on_completed()
        return Disposable()

    flow = FlowScheduler(virtual_loop())
    stream: Observable[Any] = Observable(subscribe)
    for operator in TEN_STOCK_OPERATORS:
        stream = operator(stream)

    stream.subscribe(scheduler=flow)
    await asyncio.sleep(1)

    assert found == [flow.gate]


@virtual_time
async def test_stock_operators_that_wait_do_so_on_its_loop_without_a_thread() -> None:
    loop = virtual_loop()
    arrived: list[tuple[int, float, int]] = []
    threads = threading.active_count()

    reactivex.timer(1, 1).pipe(ops.debounce(0.5), ops.take(3)).subscribe(
        lambda tick: arrived.append((tick, loop.time(), threading.active_count())), scheduler=FlowScheduler(loop)
    )
    await asyncio.sleep(10)

    assert arrived == [(0, 1.5, threads), (1, 2.5, threads), (2, 3.5, threads)]
    assert loop.pending_timers == 0


WAYS: dict[str, Callable[[FlowScheduler], abc.DisposableBase]] = {
    "schedule": lambda flow: flow.schedule(lambda _, __: None),
    "schedule_relative": lambda flow: flow.schedule_relative(1, lambda _, __: None),
    "schedule_absolute": lambda flow: flow.schedule_absolute(flow.now, lambda _, __: None),
    "schedule_periodic": lambda flow: flow.schedule_periodic(1, lambda _: None),
}


@pytest.mark.parametrize("schedule", WAYS.values(), ids=WAYS)
@virtual_time
async def test_it_says_whether_anything_was_ever_scheduled(
    schedule: Callable[[FlowScheduler], abc.DisposableBase],
) -> None:
    flow = FlowScheduler(virtual_loop())
    assert not flow.has_scheduled

    schedule(flow).dispose()

    assert flow.has_scheduled


class Called:
    """An action that can be awaited, and knows the thread it was called on."""

    def __init__(self) -> None:
        self.states: list[Any] = []
        self.thread = 0
        self._happened = asyncio.Event()

    def __call__(self, _: abc.SchedulerBase, state: Any = None) -> None:
        self.states.append(state)
        self.thread = threading.get_ident()
        self._happened.set()

    async def wait(self) -> None:
        await self._happened.wait()


async def on_another_thread(call: Callable[[], object]) -> None:
    """Make `call` on a thread of its own and wait for it."""
    await asyncio.to_thread(call)


@virtual_time
async def test_another_thread_wakes_a_loop_that_has_nothing_to_do() -> None:
    flow = FlowScheduler(virtual_loop())
    flow.loop.set_debug(True)  # then asyncio itself objects to calls that are not safe between threads
    called = Called()

    thread = threading.Thread(target=flow.schedule, args=(called, "state"))
    thread.start()
    await called.wait()
    thread.join()

    assert called.states == ["state"]
    assert called.thread == threading.get_ident()


@virtual_time
async def test_another_thread_may_ask_for_a_due_time() -> None:
    loop = virtual_loop()
    loop.set_debug(True)
    flow = FlowScheduler(loop)
    relative, absolute = Called(), Called()

    await on_another_thread(lambda: flow.schedule_relative(5, relative))
    await on_another_thread(lambda: flow.schedule_absolute(flow.now + timedelta(seconds=7), absolute))

    await relative.wait()
    assert loop.time() == 5
    await absolute.wait()
    assert loop.time() == 7
    assert relative.thread == absolute.thread == threading.get_ident()


@virtual_time
async def test_what_waits_may_be_disposed_on_any_thread() -> None:
    flow = FlowScheduler(virtual_loop())
    called = Called()
    theirs: list[abc.DisposableBase] = []

    await on_another_thread(lambda: flow.schedule_relative(5, called, "there").dispose())
    await on_another_thread(lambda: theirs.append(flow.schedule_relative(5, called, "there, then here")))
    theirs[0].dispose()
    mine = flow.schedule_relative(5, called, "here, then there")
    await on_another_thread(mine.dispose)
    await asyncio.sleep(10)

    assert not called.states
