"""A gate for any scheduler, and the scheduler for any subscription."""

import asyncio
from typing import Any

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from rxstream.errors import ConfigurationError
from rxstream.flow import Gate
from rxstream.schedulers import FlowScheduler, gate_of, loop_for
from rxstream.schedulers.gated_scheduler import GatedScheduler, clock_of, gated, on_time, require_gate
from tests.virtual_loop import virtual_time


def test_it_runs_everything_on_the_scheduler_inside_at_its_time() -> None:
    clock, ran = TestScheduler(), list[tuple[str, float]]()
    scheduler = GatedScheduler(clock, Gate())

    def note(_: object, name: str | None = None) -> None:
        ran.append((name or "", clock.clock))

    scheduler.schedule(note, "now")
    scheduler.schedule_relative(10, note, "in ten")
    scheduler.schedule_absolute(20, note, "at twenty")
    clock.advance_to(15)

    assert ran == [("now", 0), ("in ten", 10)]
    assert scheduler.now == clock.now
    clock.advance_to(20)
    assert ran[2:] == [("at twenty", 20)]


def test_what_is_disposed_does_not_run() -> None:
    clock, ran = TestScheduler(), list[bool]()

    GatedScheduler(clock, Gate()).schedule_relative(1, lambda *_: ran.append(True)).dispose()  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    clock.advance_to(10)

    assert ran == []


@pytest.mark.parametrize(
    "source",
    [reactivex.of(1), reactivex.timer(5.0), reactivex.interval(5.0), reactivex.never().pipe(ops.timeout(5.0))],
)
def test_it_notes_that_a_source_scheduled_something(source: reactivex.Observable[Any]) -> None:
    scheduler = GatedScheduler(TestScheduler(), Gate())

    source.subscribe(scheduler=scheduler)

    assert scheduler.has_scheduled


async def test_on_asyncio_a_stage_passes_a_flow_scheduler_upstream() -> None:
    loop, gate = asyncio.get_running_loop(), Gate()

    for scheduler in (None, AsyncIOScheduler(loop), FlowScheduler(loop)):
        carrier = gated(scheduler, gate)

        assert isinstance(carrier, FlowScheduler)
        assert (carrier.loop, gate_of(carrier)) == (loop, gate)


def test_any_other_scheduler_is_kept_inside_once() -> None:
    clock, gate = TestScheduler(), Gate()

    carrier = gated(gated(clock, Gate()), gate)

    assert isinstance(carrier, GatedScheduler)
    assert (carrier.inner, gate_of(carrier)) == (clock, gate)


async def test_timers_run_on_the_loop_unless_another_scheduler_is_named() -> None:
    loop = asyncio.get_running_loop()
    clock, flow = TestScheduler(), FlowScheduler(loop)

    assert on_time(clock) is clock
    assert on_time(flow) is flow
    for scheduler in (on_time(None), on_time(AsyncIOScheduler(loop))):
        assert isinstance(scheduler, FlowScheduler)
        assert scheduler.loop is loop


async def test_a_scheduler_with_a_loop_of_its_own_means_that_loop() -> None:
    other = asyncio.new_event_loop()

    assert loop_for(AsyncIOScheduler(other)) is other
    assert loop_for(TestScheduler()) is asyncio.get_running_loop()
    other.close()


@virtual_time
async def test_the_clock_is_that_of_the_loop_or_of_the_scheduler() -> None:
    loop, clock = asyncio.get_running_loop(), TestScheduler()
    await asyncio.sleep(7)
    clock.advance_to(5)

    assert clock_of(FlowScheduler(loop))() == 7
    assert clock_of(GatedScheduler(clock, Gate()))() == 5


def test_only_a_source_that_neither_waits_nor_schedules_is_known_not_to_wait() -> None:
    honoured, scheduled, hot = (GatedScheduler(TestScheduler(), Gate()) for _ in range(3))
    honoured.gate.honour()
    reactivex.of(1).subscribe(scheduler=scheduled)
    Subject[int]().subscribe(scheduler=hot)

    require_gate(honoured)
    require_gate(scheduled)
    with pytest.raises(ConfigurationError, match="cannot wait"):
        require_gate(hot)
