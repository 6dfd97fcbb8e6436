"""The queue beneath the UI schedulers: order, budget, and what happens when things go wrong."""

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.scheduler import ImmediateScheduler

from rxstream.schedulers.turn_queue import TurnQueue
from rxstream.schedulers.work import Work


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Turns:
    """A queue on a clock, with what ran and what was reported."""

    def __init__(self, budget: float = 1.0) -> None:
        self.clock = Clock()
        self.queue = TurnQueue(budget=budget, clock=self.clock)
        self.ran: list[object] = []
        self.errors: list[Exception] = []

    def post(self, name: object, due: float = 0.0, then: Callable[[], object] = lambda: None) -> Work:
        def action(_: object, name: object = None) -> None:
            self.ran.append(name)
            then()

        work = Work(ImmediateScheduler(), action, name, self.queue.note_disposed)
        self.queue.post(work, due)
        return work

    def run(self) -> bool:
        return self.queue.run_turn(self.errors.append)

    def spend(self, seconds: float) -> Callable[[], None]:
        """Return an action that takes `seconds`."""

        def take() -> None:
            self.clock.seconds += seconds

        return take


@given(
    posts=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10) | st.just(0), st.booleans()), max_size=40).map(
        lambda posts: sorted(posts, key=lambda post: post[0])
    )
)
def test_work_runs_by_due_time_and_first_come_first_served_among_equals(posts: list[tuple[int, int, bool]]) -> None:
    turns = Turns()
    works: list[Work] = []
    for number, (second, delay, _) in enumerate(posts):
        turns.clock.seconds = float(second)
        works.append(turns.post(number, float(delay)))
    for work, (_, _, is_disposed) in zip(works, posts, strict=True):
        if is_disposed:
            work.dispose()

    turns.clock.seconds = 100.0
    turns.run()

    by_due = sorted(range(len(posts)), key=lambda number: posts[number][0] + posts[number][1])
    assert turns.ran == [number for number in by_due if not posts[number][2]]
    assert turns.queue.wait() is None


@given(dues=st.lists(st.integers(1, 50), max_size=20))
def test_wait_leads_from_one_due_time_to_the_next_and_never_past_one(dues: list[int]) -> None:
    turns = Turns()
    for due in dues:
        turns.post(due, float(due))
    times: list[float] = []

    while (wait := turns.queue.wait()) is not None:
        turns.clock.seconds += wait
        assert turns.run()
        times.append(turns.clock.seconds)

    assert turns.ran == sorted(dues)
    assert times == [float(due) for due in sorted(set(dues))]


def test_a_turn_ends_when_its_budget_is_spent_and_the_next_goes_on() -> None:
    turns = Turns(budget=1.0)
    for name in "abcde":
        turns.post(name, then=turns.spend(0.5))

    turns.run()
    assert turns.ran == ["a", "b"]
    assert turns.queue.wait() == 0

    turns.run()
    assert turns.ran == ["a", "b", "c", "d"]


def test_each_turn_runs_something_however_small_its_budget() -> None:
    turns = Turns(budget=0.001)
    for name in "ab":
        turns.post(name, then=turns.spend(60))

    assert turns.run()

    assert turns.ran == ["a"]


def test_work_that_posts_itself_again_cannot_keep_the_ui_from_its_turn() -> None:
    turns = Turns(budget=1.0)

    def again() -> None:
        turns.spend(0.3)()
        turns.post("again", then=again)

    turns.post("again", then=again)
    turns.run()

    assert turns.ran == ["again"] * 4


def test_nor_can_it_hold_up_a_timer() -> None:
    turns = Turns(budget=1.0)

    def again() -> None:
        turns.spend(0.3)()
        turns.post("again", then=again)

    turns.post("again", then=again)
    turns.post("timer", 0.5)
    turns.run()

    assert turns.ran == ["again", "again", "timer", "again", "again"]


def test_an_exception_is_reported_and_the_turn_goes_on() -> None:
    turns = Turns()

    def fail() -> None:
        raise LookupError("not here")

    turns.post("a", then=fail)
    turns.post("b")
    turns.run()

    assert turns.ran == ["a", "b"]
    assert [type(error) for error in turns.errors] == [LookupError]


def test_what_ends_the_program_goes_through_and_loses_nothing_that_waits() -> None:
    turns = Turns()

    def leave() -> None:
        raise SystemExit

    turns.post("a", then=leave)
    turns.post("b")
    with pytest.raises(SystemExit):
        turns.run()
    turns.run()

    assert turns.ran == ["a", "b"]


def test_a_turn_within_a_turn_runs_nothing() -> None:
    turns = Turns()
    ran_within: list[bool] = []

    turns.post("opens a dialog", then=lambda: ran_within.append(turns.run()))
    turns.post("the next item")
    turns.run()

    assert ran_within == [False]
    assert turns.ran == ["opens a dialog", "the next item"]


def test_a_turn_says_whether_anything_ran() -> None:
    turns = Turns()
    turns.post("disposed").dispose()
    turns.post("later", 10.0)
    turns.post("disposed before it is due", 5.0).dispose()
    assert not turns.run()
    assert turns.queue.wait() == 10

    turns.clock.seconds = 10.0

    assert turns.run()


def test_closing_disposes_what_waits_and_what_comes_later() -> None:
    turns = Turns()
    waiting = [turns.post("at once"), turns.post("later", 10.0)]

    turns.queue.close()
    turns.queue.close()
    late = turns.post("too late")
    turns.clock.seconds = 20.0
    turns.run()

    assert not turns.ran
    assert all(work.is_disposed for work in [*waiting, late])
    assert turns.queue.wait() is None


def test_work_may_close_the_queue_it_runs_in() -> None:
    turns = Turns()
    turns.post("closes", then=turns.queue.close)
    turns.post("dropped")

    turns.run()

    assert turns.ran == ["closes"]


def test_disposed_timers_do_not_pile_up() -> None:
    turns = Turns()
    kept = [turns.post(number, 1_000.0 - number) for number in range(10)]

    for _ in range(10_000):
        turns.post("a timeout that does not come to pass", 60.0).dispose()

    assert len(turns.queue._timers) <= 200  # pyright: ignore[reportPrivateUsage]  # that it is bounded is the point
    turns.clock.seconds = 2_000.0
    turns.run()
    assert turns.ran == list(range(9, -1, -1))
    assert not any(work.is_disposed for work in kept)


def test_many_threads_may_post_while_turns_run() -> None:
    turns = Turns()

    def post_500(name: int) -> None:
        for number in range(500):
            turns.post((name, number))

    threads = [threading.Thread(target=post_500, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        turns.run()
    turns.run()

    assert len(turns.ran) == 2_000
    for name in range(4):
        assert [ran for ran in turns.ran if isinstance(ran, tuple) and ran[0] == name] == [
            (name, number) for number in range(500)
        ]
