"""The contract that every scheduler of reactivex keeps, and so every one of ours."""

import gc
import importlib
import inspect
import pkgutil
import sys
import threading
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from reactivex import abc
from reactivex.disposable import BooleanDisposable, SerialDisposable

from rxstream import schedulers
from tests.schedulers.benches import BENCHES, SLACK, Bench
from tests.virtual_loop import virtual_time

OURS = {
    thing
    for module in pkgutil.iter_modules(schedulers.__path__, f"{schedulers.__name__}.")
    for thing in vars(importlib.import_module(module.name)).values()
    if inspect.isclass(thing)
    and issubclass(thing, abc.SchedulerBase)
    and thing.__module__ == module.name
    and not inspect.isabstract(thing)
}
"""Every scheduler that a file of ours defines."""

every_scheduler = pytest.mark.parametrize(
    "make_bench", BENCHES.values(), ids=[f"{kind.__name__} {how}" for kind, how in BENCHES]
)

MakeBench = Callable[[], Bench]


class Calls:
    """An action that notes its state, and when it was called."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.made: list[Any] = []
        self.times: list[float] = []

    def __call__(self, _: abc.SchedulerBase, state: Any = None) -> None:
        self.made.append(state)
        self.times.append(self._bench.seconds())


def test_every_scheduler_is_under_test() -> None:
    assert {kind for kind, _ in BENCHES} == OURS


@every_scheduler
@virtual_time
async def test_now_goes_with_the_clock(make_bench: MakeBench) -> None:
    bench = make_bench()
    before = bench.scheduler.now

    await bench.advance(60)

    assert bench.scheduler.now - before == timedelta(seconds=60)


@every_scheduler
@virtual_time
async def test_an_action_gets_the_scheduler_and_its_state(make_bench: MakeBench) -> None:
    bench = make_bench()
    given: list[tuple[abc.SchedulerBase, Any]] = []

    def action(scheduler: abc.SchedulerBase, state: Any = None) -> None:
        given.append((scheduler, state))

    bench.scheduler.schedule(action, "at once")
    bench.scheduler.schedule_relative(1, action, "relative")
    bench.scheduler.schedule_absolute(bench.scheduler.now + timedelta(seconds=2), action, "absolute")
    bench.scheduler.schedule_relative(3, action)
    await bench.advance(4)

    assert [state for _, state in given] == ["at once", "relative", "absolute", None]
    scheduler, *others = {id(scheduler): scheduler for scheduler, _ in given}.values()
    assert not others
    assert scheduler is bench.scheduler


@every_scheduler
@virtual_time
async def test_schedule_returns_before_the_action_runs(make_bench: MakeBench) -> None:
    bench = make_bench()
    calls = Calls(bench)

    bench.scheduler.schedule(calls)

    assert not calls.made
    await bench.advance(SLACK)
    assert calls.made == [None]


@every_scheduler
@virtual_time
async def test_actions_run_in_the_order_they_came(make_bench: MakeBench) -> None:
    bench = make_bench()
    calls = Calls(bench)

    for number in range(20):
        bench.scheduler.schedule(calls, number)
    await bench.advance(1)

    assert calls.made == list(range(20))


@every_scheduler
@virtual_time
async def test_what_is_overdue_runs_at_once_and_in_order(make_bench: MakeBench) -> None:
    bench = make_bench()
    calls = Calls(bench)
    await bench.advance(100)
    now = bench.scheduler.now

    bench.scheduler.schedule(calls, "at once")
    bench.scheduler.schedule_absolute(now - timedelta(seconds=50), calls, "long ago")
    bench.scheduler.schedule_relative(-5, calls, "before now")
    bench.scheduler.schedule_absolute(now, calls, "this moment")
    bench.scheduler.schedule_relative(timedelta(0), calls, "now")
    await bench.advance(SLACK)

    assert calls.made == ["at once", "long ago", "before now", "this moment", "now"]


@every_scheduler
@virtual_time
async def test_due_times_are_kept_in_every_form(make_bench: MakeBench) -> None:
    bench = make_bench()
    calls = Calls(bench)
    await bench.advance(100)
    now = bench.scheduler.now

    bench.scheduler.schedule_relative(timedelta(seconds=4), calls, "timedelta")
    bench.scheduler.schedule_relative(3.0, calls, "seconds")
    bench.scheduler.schedule_absolute(now + timedelta(seconds=2), calls, "datetime")
    bench.scheduler.schedule_absolute(bench.scheduler.to_seconds(now) + 1.0, calls, "timestamp")
    await bench.advance(10)

    assert calls.made == ["timestamp", "datetime", "seconds", "timedelta"]
    assert all(0 <= time - due <= SLACK for time, due in zip(calls.times, [101, 102, 103, 104], strict=True))


@every_scheduler
@virtual_time
async def test_a_disposed_action_never_runs(make_bench: MakeBench) -> None:
    bench = make_bench()
    calls = Calls(bench)
    later = bench.scheduler.now + timedelta(seconds=1)
    disposables = [
        bench.scheduler.schedule(calls, "at once"),
        bench.scheduler.schedule_relative(1, calls, "relative"),
        bench.scheduler.schedule_absolute(later, calls, "absolute"),
    ]

    for disposable in disposables:
        disposable.dispose()
        disposable.dispose()
    bench.scheduler.schedule(calls, "the next")
    await bench.advance(2)

    assert calls.made == ["the next"]


@every_scheduler
@virtual_time
async def test_an_action_may_dispose_one_that_waits_beside_it(make_bench: MakeBench) -> None:
    bench = make_bench()
    calls = Calls(bench)
    other = SerialDisposable()

    bench.scheduler.schedule(lambda _, __: other.dispose())
    other.disposable = bench.scheduler.schedule(calls, "disposed")
    bench.scheduler.schedule(calls, "the next")
    await bench.advance(1)

    assert calls.made == ["the next"]


@every_scheduler
@pytest.mark.parametrize("due", [0, 1])
@virtual_time
async def test_disposal_reaches_what_the_action_returned(make_bench: MakeBench, due: float) -> None:
    bench = make_bench()
    inner = BooleanDisposable()
    disposable = bench.scheduler.schedule_relative(due, lambda _, __: inner)
    await bench.advance(2)
    assert not inner.is_disposed

    disposable.dispose()

    assert inner.is_disposed


@every_scheduler
@virtual_time
async def test_what_an_action_returns_is_disposed_if_it_was_disposed_meanwhile(make_bench: MakeBench) -> None:
    bench = make_bench()
    inner = BooleanDisposable()
    own = SerialDisposable()

    def action(_: abc.SchedulerBase, __: Any = None) -> abc.DisposableBase:
        own.dispose()
        return inner

    own.disposable = bench.scheduler.schedule(action)
    await bench.advance(1)

    assert inner.is_disposed


@every_scheduler
@pytest.mark.parametrize("due", [0, 60])
@virtual_time
async def test_disposal_lets_go_of_the_state(make_bench: MakeBench, due: float) -> None:
    class State:
        """Something that can be weakly referenced."""

    bench = make_bench()
    state = State()
    is_alive = weakref.ref(state)
    disposable = bench.scheduler.schedule_relative(due, lambda _, __: None, state)

    disposable.dispose()
    del state
    gc.collect()

    assert is_alive() is None


@every_scheduler
@virtual_time
async def test_an_action_may_schedule_itself_again_and_again(make_bench: MakeBench) -> None:
    bench = make_bench()
    steps: list[int] = []

    def step(scheduler: abc.SchedulerBase, number: int | None = None) -> abc.DisposableBase | None:
        steps.append(number or 0)
        return scheduler.schedule(step, len(steps)) if len(steps) < 3_000 else None

    bench.scheduler.schedule(step, 0)
    await bench.advance(60)

    assert steps == list(range(3_000))


@every_scheduler
@virtual_time
async def test_a_periodic_action_gets_what_it_returned(make_bench: MakeBench) -> None:
    bench = make_bench()
    states: list[int | None] = []
    times: list[float] = []

    def action(state: int | None = None) -> int:
        states.append(state)
        times.append(bench.seconds())
        return (state or 0) + 1

    disposable = bench.scheduler.schedule_periodic(timedelta(seconds=10), action, 5)
    await bench.advance(45)
    disposable.dispose()
    await bench.advance(45)

    assert states == [5, 6, 7, 8]
    assert all(abs(time - due) <= 4 * SLACK for time, due in zip(times, [10, 20, 30, 40], strict=True))


@every_scheduler
@virtual_time
async def test_a_periodic_action_may_end_itself(make_bench: MakeBench) -> None:
    bench = make_bench()
    calls: list[float] = []
    own = SerialDisposable()

    def action(_: object) -> None:
        calls.append(bench.seconds())
        own.dispose()

    own.disposable = bench.scheduler.schedule_periodic(1, action)
    await bench.advance(10)

    assert len(calls) == 1


@every_scheduler
@virtual_time
async def test_an_action_that_raises_takes_no_other_with_it(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench()
    calls = Calls(bench)

    def note(_: type[BaseException], error: BaseException, __: object) -> None:
        bench.errors.append(error)

    monkeypatch.setattr(sys, "excepthook", note)  # where Qt's errors go

    def fail(_: abc.SchedulerBase, __: Any = None) -> None:
        raise LookupError("not here")

    bench.scheduler.schedule(calls, "before")
    bench.scheduler.schedule(fail)
    bench.scheduler.schedule(calls, "after")
    bench.scheduler.schedule_relative(1, calls, "later")
    await bench.advance(2)

    assert calls.made == ["before", "after", "later"]
    assert isinstance(bench.errors.pop(), LookupError)


@every_scheduler
@virtual_time
async def test_other_threads_may_schedule_and_dispose(make_bench: MakeBench) -> None:
    bench = make_bench()
    calls = Calls(bench)

    def work(name: int) -> None:
        for number in range(50):
            bench.scheduler.schedule(calls, (name, number))
            bench.scheduler.schedule_relative(1, calls, (name, 50 + number))
            bench.scheduler.schedule(calls, "disposed").dispose()
            bench.scheduler.schedule_relative(1, calls, "disposed").dispose()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await bench.advance(10)

    assert "disposed" not in calls.made
    for name in range(4):
        assert [number for thread, number in calls.made if thread == name] == list(range(100))


@every_scheduler
@virtual_time
async def test_nothing_is_left_when_nothing_waits(make_bench: MakeBench) -> None:
    bench = make_bench()
    calls = Calls(bench)

    bench.scheduler.schedule_relative(3_600, calls).dispose()
    bench.scheduler.schedule(calls)
    await bench.advance(1)
    bench.scheduler.schedule(calls).dispose()
    if isinstance(bench.scheduler, abc.DisposableBase):
        bench.scheduler.dispose()
    await bench.advance(0.001)

    assert bench.loop.pending_timers == 0
