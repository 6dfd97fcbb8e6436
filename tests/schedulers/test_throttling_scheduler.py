"""`ThrottlingScheduler`: never faster than its pace, and never slower than it need be."""

import threading
from datetime import datetime, timedelta
from itertools import combinations
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import abc, typing
from reactivex import operators as ops
from reactivex.disposable import SerialDisposable
from reactivex.scheduler import NewThreadScheduler
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream.flow import Rate
from rxstream.schedulers import FlowScheduler, ThrottlingScheduler, gate_of
from tests.schedulers.benches import virtual_loop
from tests.virtual_loop import virtual_time

on_next, on_completed = ReactiveTest.on_next, ReactiveTest.on_completed

S = TypeVar("S")

TEN_SECONDS = timedelta(seconds=10)


class Starts:
    """An action of `takes` seconds that notes when it began; its state is its name."""

    def __init__(self, clock: TestScheduler, takes: float = 0) -> None:
        self._clock = clock
        self._takes = takes
        self.made: list[tuple[float, str]] = []

    def __call__(self, _: abc.SchedulerBase, name: str | None = None) -> None:
        self.made.append((self._clock.to_seconds(self._clock.now), name or ""))
        if self._takes:
            self._clock.sleep(self._takes)


def test_throttling_scheduler_spaces_a_burst_out() -> None:
    clock = TestScheduler()
    burst = clock.create_hot_observable(on_next(210, "a"), on_next(211, "b"), on_completed(212))
    paced = ThrottlingScheduler(clock, timedelta(seconds=10))

    result = clock.start(lambda: burst.pipe(ops.observe_on(paced)))

    assert result.messages == [on_next(210, "a"), on_next(220, "b"), on_completed(230)]


def test_a_rate_of_one_permit_at_a_time_is_an_interval() -> None:
    clock = TestScheduler()
    burst = clock.create_hot_observable(on_next(210, "a"), on_next(211, "b"), on_completed(212))
    paced = ThrottlingScheduler(clock, Rate(0.1, burst=1))

    result = clock.start(lambda: burst.pipe(ops.observe_on(paced)))

    assert result.messages == [on_next(210, "a"), on_next(220, "b"), on_completed(230)]


actions = st.lists(
    st.tuples(st.integers(1, 60), st.none() | st.integers(0, 100), st.booleans()),
    max_size=20,
)
"""For each action: when it is due, how long after that it is disposed, and whether it waits as a timer until then."""


@given(interval=st.integers(1, 20), actions=actions)
def test_each_action_starts_as_soon_as_the_interval_allows(
    interval: int, actions: list[tuple[int, int | None, bool]]
) -> None:
    clock = TestScheduler()
    paced = ThrottlingScheduler(clock, timedelta(seconds=interval))
    starts = Starts(clock)

    for number, (due, disposed_after, is_timer) in enumerate(actions):
        if is_timer:
            own = paced.schedule_relative(due, starts, str(number))
        else:
            own = post_at(clock, due, paced, starts, str(number))
        if disposed_after is not None:
            clock.schedule_relative(due + disposed_after, lambda _, __, own=own: own.dispose())
    clock.advance_to(1_000)

    assert starts.made == expected_starts(interval, actions)


def post_at(
    clock: TestScheduler, due: float, paced: ThrottlingScheduler, action: Starts, name: str
) -> SerialDisposable:
    """Schedule `action` on `paced` when `clock` shows `due`; return what disposes it."""
    own = SerialDisposable()

    def post(_: abc.SchedulerBase, __: object = None) -> None:
        own.disposable = paced.schedule(action, name)

    clock.schedule_relative(due, post)
    return own


def expected_starts(interval: int, actions: list[tuple[int, int | None, bool]]) -> list[tuple[float, str]]:
    """Play the scheduler second by second: the first that waits starts, if the interval is over."""
    waiting = {
        str(number): (due, 1_000 if disposed_after is None else due + disposed_after)
        for number, (due, disposed_after, _) in enumerate(actions)
    }
    starts: list[tuple[float, str]] = []
    next_at = 0
    for second in range(1_000):
        ready = [name for name, (due, disposed) in waiting.items() if due <= second < disposed]
        if ready and second >= next_at:
            first = min(ready, key=lambda name: waiting[name][0])
            del waiting[first]
            starts.append((second, first))
            next_at = second + interval
    return starts


@given(
    rate=st.sampled_from([0.1, 0.5, 1.0, 3.0, 10.0]),
    burst=st.integers(1, 5),
    dues=st.lists(st.integers(0, 30), min_size=1, max_size=25).map(sorted),
)
def test_no_stretch_of_time_has_more_actions_than_permits(rate: float, burst: int, dues: list[int]) -> None:
    clock = TestScheduler()
    paced = ThrottlingScheduler(clock, Rate(rate, burst=burst))
    starts = Starts(clock)

    for number, due in enumerate(dues):
        post_at(clock, due, paced, starts, str(number))
    clock.advance_to(1_000)

    times = [time for time, _ in starts.made]
    assert [name for _, name in starts.made] == [str(number) for number in range(len(dues))]
    for (i, first), (j, last) in combinations(enumerate(times), 2):
        assert j - i + 1 <= burst + rate * (last - first) + 1e-4


def test_a_rate_lets_a_burst_through_and_then_keeps_its_pace() -> None:
    clock = TestScheduler()
    paced = ThrottlingScheduler(clock, Rate(0.5, burst=3))
    starts = Starts(clock)

    for name in "abcde":
        post_at(clock, 100, paced, starts, name)
    clock.advance_to(1_000)

    assert starts.made == [(100, "a"), (100, "b"), (100, "c"), (102, "d"), (104, "e")]


def test_spacing_counts_from_the_start_that_really_was() -> None:
    clock = TestScheduler()
    paced = ThrottlingScheduler(clock, TEN_SECONDS)
    slow = Starts(clock, takes=25)

    for name in "abc":
        paced.schedule(slow, name)
    clock.advance_to(1_000)

    assert slow.made == [(0, "a"), (25, "b"), (50, "c")]


@pytest.mark.parametrize("pace", [timedelta(seconds=8), Rate(0.125, burst=1)], ids=["interval", "rate"])
def test_a_timer_that_comes_too_early_starts_nothing(pace: timedelta | Rate) -> None:
    class Hasty(TestScheduler):
        """Wakes the first who asks three seconds early."""

        early = timedelta(seconds=3)

        def schedule_relative(
            self, duetime: typing.RelativeTime, action: typing.ScheduledAction[S], state: S | None = None
        ) -> abc.DisposableBase:
            early, self.early = self.early, timedelta(0)
            return super().schedule_relative(self.to_timedelta(duetime) - early, action, state)

    clock = Hasty()
    paced = ThrottlingScheduler(clock, pace)
    starts = Starts(clock)

    paced.schedule(starts, "a")
    paced.schedule(starts, "b")
    clock.advance_to(1_000)

    assert clock.early == timedelta(0)
    assert starts.made == [(0, "a"), (8, "b")]


def test_a_wall_clock_that_is_set_back_delays_nothing_for_long() -> None:
    class SetBack(TestScheduler):
        """Shows an hour less once it is told to."""

        behind = timedelta(0)

        @property
        def now(self) -> datetime:
            return super().now - self.behind

    clock = SetBack(initial_clock=10_000.0)
    paced = ThrottlingScheduler(clock, TEN_SECONDS)
    times: list[float] = []

    def note(_: abc.SchedulerBase, __: object = None) -> None:
        times.append(clock.clock)

    paced.schedule(note)
    clock.advance_to(10_005.0)
    clock.behind = timedelta(hours=1)
    paced.schedule(note)
    paced.schedule(note)
    clock.start()

    assert times == [10_000, 10_015, 10_025]


def test_actions_never_overlap_even_where_each_has_a_thread() -> None:
    paced = ThrottlingScheduler(NewThreadScheduler(), timedelta(microseconds=1))
    one_at_a_time = threading.Lock()
    overlaps: list[int] = []
    ran: list[int] = []
    all_ran = threading.Event()

    def action(_: abc.SchedulerBase, number: int | None = None) -> None:
        if not one_at_a_time.acquire(blocking=False):
            overlaps.append(number or 0)
            return
        ran.append(number or 0)
        one_at_a_time.release()
        if len(ran) == 50:
            all_ran.set()

    for number in range(50):
        paced.schedule(action, number)

    assert all_ran.wait(60)
    assert ran == list(range(50))
    assert not overlaps


def test_depth_counts_what_is_due_and_waits() -> None:
    clock = TestScheduler()
    paced = ThrottlingScheduler(clock, TEN_SECONDS)
    starts = Starts(clock)
    paced.schedule_relative(100, starts, "not due")
    waiting = [paced.schedule(starts, name) for name in "abc"]
    assert paced.depth == 3

    clock.advance_to(1)
    waiting[1].dispose()

    assert starts.made == [(0, "a")]
    assert paced.depth == 1


@virtual_time
async def test_demand_travels_through_it() -> None:
    flow = FlowScheduler(virtual_loop())

    assert gate_of(ThrottlingScheduler(flow, TEN_SECONDS)) is flow.gate
    assert gate_of(ThrottlingScheduler(TestScheduler(), TEN_SECONDS)) is None


@virtual_time
async def test_no_timer_is_left_once_all_that_waits_is_disposed() -> None:
    loop = virtual_loop()
    paced = ThrottlingScheduler(FlowScheduler(loop), TEN_SECONDS)
    first, second = (paced.schedule(lambda _, __: None) for _ in range(2))
    virtual_loop().call_later(1, first.dispose)
    virtual_loop().call_later(1, second.dispose)

    await sleep_past(1)

    assert loop.pending_timers == 0


async def sleep_past(seconds: float) -> None:
    """Let `seconds` pass, and everything that is due by then."""
    loop = virtual_loop()
    goal = loop.create_future()
    loop.call_later(seconds, goal.set_result, None)
    await goal


@pytest.mark.parametrize("interval", [timedelta(0), timedelta(seconds=-1)])
def test_an_interval_of_nothing_is_refused(interval: timedelta) -> None:
    with pytest.raises(ValueError, match="interval"):
        ThrottlingScheduler(TestScheduler(), interval)
