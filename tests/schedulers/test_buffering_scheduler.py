"""`BufferingScheduler`: together, in order, and never more than there is room for."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from reactivex import abc, typing
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream.errors import BufferOverflowError
from rxstream.schedulers import BufferingScheduler, FlowScheduler, gate_of
from tests.schedulers.benches import virtual_loop
from tests.virtual_loop import virtual_time

on_next, on_completed = ReactiveTest.on_next, ReactiveTest.on_completed

TEN_SECONDS = timedelta(seconds=10)


class Runs:
    """An action that notes when it ran; its state is its name."""

    def __init__(self, clock: TestScheduler) -> None:
        self._clock = clock
        self.made: list[tuple[float, str]] = []

    def __call__(self, _: abc.SchedulerBase, name: str | None = None) -> None:
        self.made.append((self._clock.to_seconds(self._clock.now), name or ""))


def post_at(clock: TestScheduler, due: float, buffering: BufferingScheduler, action: Runs, names: str) -> None:
    """Schedule `action` once for each letter of `names` when `clock` shows `due`."""

    def post(_: abc.SchedulerBase, __: object = None) -> None:
        for name in names:
            buffering.schedule(action, name)

    clock.schedule_relative(due, post)


def test_a_window_opens_with_its_first_action_and_all_in_it_run_together() -> None:
    clock = TestScheduler()
    buffering = BufferingScheduler(clock, window=TEN_SECONDS)
    runs = Runs(clock)

    for due, name in [(10, "a"), (13, "b"), (19, "c"), (21, "d"), (50, "e")]:
        post_at(clock, due, buffering, runs, name)
    clock.advance_to(1_000)

    assert runs.made == [(20, "a"), (20, "b"), (20, "c"), (31, "d"), (60, "e")]


def test_a_count_cuts_a_window_short() -> None:
    clock = TestScheduler()
    buffering = BufferingScheduler(clock, window=TEN_SECONDS, count=3)
    runs = Runs(clock)

    for due, name in [(10, "a"), (11, "b"), (12, "c"), (13, "d")]:
        post_at(clock, due, buffering, runs, name)
    clock.advance_to(1_000)

    assert runs.made == [(12, "a"), (12, "b"), (12, "c"), (23, "d")]


def test_a_count_alone_leaves_the_inner_scheduler_to_others_in_between() -> None:
    clock = TestScheduler()
    buffering = BufferingScheduler(clock, count=3)
    runs = Runs(clock)

    def also_there(scheduler: abc.SchedulerBase, state: Any = None) -> None:
        runs(scheduler, "-")
        if len(runs.made) < 10:
            scheduler.schedule(also_there)

    post_at(clock, 10, buffering, runs, "abcdefgh")
    clock.schedule_relative(10, also_there)
    clock.advance_to(1_000)

    assert "".join(name for _, name in runs.made) == "-abc-def-gh-"
    assert {time for time, _ in runs.made} == {10}


def test_what_an_action_schedules_is_for_the_next_window() -> None:
    clock = TestScheduler()
    source = clock.create_hot_observable(on_next(210, "a"), on_next(211, "b"), on_completed(212))
    buffering = BufferingScheduler(clock, window=TEN_SECONDS)

    result = clock.start(lambda: source.pipe(ops.observe_on(buffering)))

    assert result.messages == [on_next(220, "a"), on_next(230, "b"), on_completed(240)]


class Deaf(TestScheduler):
    """Cannot cancel anything."""

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[Any], state: Any = None
    ) -> abc.DisposableBase:
        super().schedule_absolute(duetime, action, state)
        return Disposable()


def test_a_turn_that_was_replaced_but_comes_all_the_same_cuts_no_window_short() -> None:
    clock = Deaf()
    buffering = BufferingScheduler(clock, window=TEN_SECONDS, count=2)
    runs = Runs(clock)

    for due, name in [(10, "a"), (12, "b"), (15, "c")]:
        post_at(clock, due, buffering, runs, name)
    clock.advance_to(1_000)

    assert runs.made == [(12, "a"), (12, "b"), (25, "c")]


def test_a_disposed_action_whose_timer_comes_all_the_same_takes_no_room() -> None:
    clock = Deaf()
    buffering = BufferingScheduler(clock, window=TEN_SECONDS)

    buffering.schedule_relative(5, lambda _, __: None).dispose()
    clock.advance_to(6)

    assert buffering.depth == 0


def test_actions_never_overlap_even_where_the_inner_scheduler_runs_them_on_the_spot() -> None:
    class Eager(TestScheduler):
        """Waits for due times only."""

        def schedule(self, action: typing.ScheduledAction[Any], state: Any = None) -> abc.DisposableBase:
            return self.invoke_action(action, state)

    clock = Eager()
    buffering = BufferingScheduler(clock, window=TEN_SECONDS, count=2)
    steps: list[str] = []

    def outer(scheduler: abc.SchedulerBase, _: object = None) -> None:
        steps.append("outer begins")
        scheduler.schedule(lambda _, __: steps.append("inner"))
        scheduler.schedule(lambda _, __: steps.append("inner"))
        steps.append("outer ends")

    buffering.schedule(outer)
    clock.advance_to(10)

    assert steps == ["outer begins", "outer ends", "inner", "inner"]


@given(
    window=st.none() | st.integers(1, 20),
    count=st.integers(1, 5),
    dues=st.lists(st.integers(1, 60), max_size=40).map(sorted),
)
def test_nothing_is_lost_or_reordered_or_kept_longer_than_a_window(
    window: int | None, count: int, dues: list[int]
) -> None:
    clock = TestScheduler()
    buffering = BufferingScheduler(clock, window=None if window is None else timedelta(seconds=window), count=count)
    ran: list[tuple[int, float]] = []

    def action(_: abc.SchedulerBase, number: int | None = None) -> None:
        ran.append((number or 0, clock.to_seconds(clock.now)))

    for number, due in enumerate(dues):
        clock.schedule_relative(due, lambda _, __, number=number: buffering.schedule(action, number))
    clock.advance_to(1_000)

    assert [number for number, _ in ran] == list(range(len(dues)))
    assert all(time - due <= (window or 0) for (_, time), due in zip(ran, dues, strict=True))


@given(count=st.integers(1, 5), waiting=st.integers(0, 30))
def test_no_turn_of_the_inner_scheduler_runs_more_than_the_count(count: int, waiting: int) -> None:
    clock = TestScheduler()
    buffering = BufferingScheduler(clock, count=count)
    turn_of: list[int] = []
    turns = 0

    def next_turn(scheduler: abc.SchedulerBase, _: object = None) -> None:
        nonlocal turns
        turns += 1
        if turns < 100:
            scheduler.schedule(next_turn)

    for _ in range(waiting):
        buffering.schedule(lambda _, __: turn_of.append(turns))
    clock.schedule(next_turn)
    clock.advance_to(1)

    sizes = [len(list(batch)) for _, batch in groupby(turn_of)]
    assert sizes == [count] * (waiting // count) + ([waiting % count] if waiting % count else [])


def test_the_rest_of_a_batch_runs_at_once_after_one_that_raises() -> None:
    clock = TestScheduler()
    buffering = BufferingScheduler(clock, window=TEN_SECONDS)
    runs = Runs(clock)

    def fail(_: abc.SchedulerBase, __: object = None) -> None:
        buffering.schedule(runs, "later")
        raise LookupError("not here")

    buffering.schedule(runs, "before")
    buffering.schedule(fail)
    buffering.schedule(runs, "after")
    with pytest.raises(LookupError):
        clock.advance_to(1_000)
    clock.stop()
    clock.advance_to(1_000)

    assert runs.made == [(10, "before"), (10, "after"), (10, "later")]


def test_the_gate_closes_at_the_capacity_and_opens_at_the_low_mark() -> None:
    clock = TestScheduler()
    buffering = BufferingScheduler(clock, window=TEN_SECONDS, capacity=4, low=2)
    states: list[tuple[int, bool]] = []

    def note(_: abc.SchedulerBase, __: object = None) -> None:
        states.append((buffering.depth, buffering.gate.is_open))

    for _ in range(4):
        assert buffering.gate.is_open
        buffering.schedule(note)
    assert not buffering.gate.is_open
    clock.advance_to(10)

    assert states == [(3, False), (2, True), (1, True), (0, True)]
    assert buffering.gate.times_closed == 1


def test_the_low_mark_is_three_quarters_by_default() -> None:
    buffering = BufferingScheduler(TestScheduler(), window=TEN_SECONDS, capacity=100)
    waiting = [buffering.schedule(lambda _, __: None) for _ in range(100)]

    for number, action in enumerate(waiting, 1):
        action.dispose()
        assert buffering.gate.is_open == (100 - number <= 75)


def test_a_source_that_honours_the_gate_may_bring_what_it_has_in_hand() -> None:
    clock = TestScheduler()
    buffering = BufferingScheduler(clock, window=TEN_SECONDS, capacity=4)
    buffering.gate.honour()
    runs = Runs(clock)

    for name in "abcdefg":
        buffering.schedule(runs, name)
    clock.advance_to(10)

    assert "".join(name for _, name in runs.made) == "abcdefg"


def test_without_a_source_that_could_wait_what_goes_beyond_the_capacity_is_refused() -> None:
    clock = TestScheduler()
    buffering = BufferingScheduler(clock, window=TEN_SECONDS, capacity=4)
    runs = Runs(clock)
    buffering.schedule_relative(5, runs, "timer")
    for name in "abcd":
        buffering.schedule(runs, name)

    with pytest.raises(BufferOverflowError, match="4 actions"):
        buffering.schedule(runs, "too much")
    clock.advance_to(10)

    assert [name for _, name in runs.made] == ["a", "b", "c", "d", "timer"]


@virtual_time
async def test_a_source_waits_at_the_gate_of_a_scheduler_made_for_it() -> None:
    loop = virtual_loop()
    buffering = BufferingScheduler(FlowScheduler(loop), window=TEN_SECONDS, capacity=5, low=0)
    gate = FlowScheduler(loop, parent=buffering).gate
    gate.honour()
    made: list[tuple[int, float]] = []
    peak = 0

    for number in range(12):
        await gate.wait()
        buffering.schedule(lambda _, number: made.append((number or 0, loop.time())), number)
        peak = max(peak, buffering.depth)
    await asyncio.sleep(60)

    assert peak == 5
    assert made == [(number, 10 * (number // 5 + 1)) for number in range(12)]


@virtual_time
async def test_its_gate_hears_that_of_the_inner_scheduler() -> None:
    flow = FlowScheduler(virtual_loop())
    buffering = BufferingScheduler(flow, window=TEN_SECONDS)

    flow.gate.close("somebody further down")

    assert gate_of(buffering) is buffering.gate
    assert not buffering.gate.is_open


@virtual_time
async def test_disposing_all_that_waits_leaves_no_timer_and_opens_the_gate() -> None:
    loop = virtual_loop()
    buffering = BufferingScheduler(FlowScheduler(loop), window=TEN_SECONDS, capacity=3)
    waiting = [buffering.schedule(lambda _, __: None) for _ in range(3)]
    await asyncio.sleep(1)
    assert loop.pending_timers == 1
    assert not buffering.gate.is_open

    for action in waiting:
        action.dispose()

    assert loop.pending_timers == 0
    assert buffering.gate.is_open


@virtual_time
async def test_a_window_cut_short_leaves_no_timer() -> None:
    loop = virtual_loop()
    buffering = BufferingScheduler(FlowScheduler(loop), window=TEN_SECONDS, count=2)
    ran: list[int | None] = []

    for number in range(2):
        buffering.schedule(lambda _, number: ran.append(number), number)
        await asyncio.sleep(1)

    assert ran == [0, 1]
    assert loop.pending_timers == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "a window, a count or both"),
        ({"window": timedelta(0)}, "window"),
        ({"count": 0}, "count"),
        ({"count": 1, "capacity": 0}, "capacity"),
        ({"count": 1, "capacity": 5, "low": 5}, "low mark"),
        ({"count": 1, "capacity": 5, "low": -1}, "low mark"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        BufferingScheduler(TestScheduler(), **options)


class Anything(RuleBasedStateMachine):
    """Posts, disposals and time in any order: the figures always add up."""

    CAPACITY, LOW = 6, 3

    def __init__(self) -> None:
        super().__init__()
        self.clock = TestScheduler()
        self.buffering = BufferingScheduler(
            self.clock, window=timedelta(seconds=5), count=4, capacity=self.CAPACITY, low=self.LOW
        )
        self.disposals: dict[int, Callable[[], None]] = {}
        self.posted = 0
        self.ran: list[int] = []
        self.disposed: set[int] = set()
        self.was_full = False

    @precondition(lambda self: self.buffering.depth < self.CAPACITY)
    @rule()
    def post(self) -> None:
        number = self.posted
        self.disposals[number] = self.buffering.schedule(self._run, number).dispose
        self.posted += 1

    @precondition(lambda self: self.buffering.depth == self.CAPACITY)
    @rule()
    def post_too_much(self) -> None:
        with pytest.raises(BufferOverflowError):
            self.buffering.schedule(self._run)

    @precondition(lambda self: self.disposals)
    @rule(data=st.data())
    def dispose(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.disposals)))
        self.disposals.pop(number)()
        self.disposed.add(number)

    @rule(seconds=st.integers(1, 6))
    def wait(self, seconds: int) -> None:
        self.clock.advance_by(seconds)

    @invariant()
    def in_is_out_and_dropped_and_buffered(self) -> None:
        assert self.posted == len(self.ran) + len(self.disposed) + self.buffering.depth
        assert self.buffering.depth == len(self.disposals)

    @invariant()
    def what_ran_is_in_order_and_was_not_disposed(self) -> None:
        assert self.ran == sorted(set(self.ran))
        assert not self.disposed & set(self.ran)

    @invariant()
    def the_gate_says_how_full_it_is(self) -> None:
        depth = self.buffering.depth
        self.was_full = depth >= self.CAPACITY or (self.was_full and depth > self.LOW)
        assert self.buffering.gate.is_open is not self.was_full

    def teardown(self) -> None:
        self.clock.advance_by(100)
        assert self.posted == len(self.ran) + len(self.disposed)
        assert self.buffering.gate.is_open

    def _run(self, _: abc.SchedulerBase, number: int | None = None) -> None:
        self.ran.append(number or 0)
        self.disposals.pop(number or 0)


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=40, stateful_step_count=40)
