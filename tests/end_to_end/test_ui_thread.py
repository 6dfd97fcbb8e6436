"""A UI thread as the slow consumer of a flood: the stream runs on the background loop, the UI is the test's thread."""

import gc
import threading
from datetime import UTC, datetime, timedelta

import pytest
from reactivex import abc
from reactivex.scheduler import EventLoopScheduler

from rxstream.flow import LARGEST_READ, StreamBackpressureController
from rxstream.operators import deliver_on, frames
from rxstream.schedulers import TkScheduler
from rxstream.schedulers.turn_scheduler import TurnScheduler
from tests.display import display
from tests.end_to_end.background import PATIENCE, in_background, on_background
from tests.end_to_end.flood import asked, asking, flooding, numbered

MANY = 20_000
SIZE = 1_000
"""Bytes of each event: an answer of 20 MB."""
ONE_READ = LARGEST_READ // SIZE + 1
START = datetime(2026, 1, 1, tzinfo=UTC)


class Ui(TurnScheduler):
    """A UI that has a turn when the test says so, on a clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        super().__init__(budget=timedelta(milliseconds=8), clock=lambda: self.seconds)
        self._has_work = threading.Event()

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def turn(self) -> None:
        """Wait for something to do, and do it for the length of a turn."""
        assert self._has_work.wait(PATIENCE)
        self._has_work.clear()
        self._queue.run_turn(fail)
        if self._queue.wait() == 0:
            self._has_work.set()

    def _wake(self) -> None:
        self._has_work.set()


def fail(error: Exception) -> None:
    raise error


def test_a_ui_of_a_hundred_tokens_a_second_stops_the_server_and_loses_nothing_when_it_speeds_up() -> None:
    controller, ui = StreamBackpressureController(), Ui()
    shown: list[str] = []
    is_over = threading.Event()
    seconds_each = 0.01

    def show(token: str) -> None:
        assert threading.current_thread() is threading.main_thread()
        shown.append(token)
        ui.seconds += seconds_each

    with in_background(flooding(MANY, SIZE)) as flood, in_background(asking(flood, controller=controller)) as provider:
        asked(provider).pipe(deliver_on(ui, 256)).subscribe(show, on_completed=is_over.set)
        answer = on_background(flood.answer())
        accepted = [on_background(answer.stopped())]
        for _ in range(5):
            for _ in range(100):
                ui.turn()
            accepted.append(on_background(answer.stopped()))
            assert controller.snapshot().depth <= 256 + ONE_READ
        taken = len(shown)
        seconds_each = 0.0
        while not is_over.is_set():
            ui.turn()

    assert 100 <= taken <= 500  # one a turn, or none where it comes just before what it was to show
    assert accepted[0] < (256 + ONE_READ) * SIZE + flood.unread
    assert accepted[-1] < (taken + 256 + ONE_READ) * SIZE + flood.unread
    assert shown == numbered(MANY)
    assert controller.snapshot().peak_items <= 256 + ONE_READ
    assert controller.snapshot().depth == 0


def test_frames_for_a_ui_that_hangs_stay_within_the_bound_too() -> None:
    controller, ui = StreamBackpressureController(), Ui()
    shown: list[str] = []
    is_over = threading.Event()

    with in_background(flooding(MANY, SIZE)) as flood, in_background(asking(flood, controller=controller)) as provider:
        framed = asked(provider).pipe(frames(timedelta(milliseconds=1)), deliver_on(ui, 256, weigh=len))
        framed.subscribe(shown.extend, on_completed=is_over.set)
        answer = on_background(flood.answer())
        accepted = on_background(answer.stopped())
        while not is_over.is_set():
            ui.turn()

    assert accepted < MANY * SIZE / 4  # 256 tokens, and what came in a millisecond or two
    assert shown == numbered(MANY)


def test_a_thread_that_is_stuck_stops_the_server_until_it_goes_on() -> None:
    controller, thread = StreamBackpressureController(), EventLoopScheduler()
    shown: list[str] = []
    is_over, may_show, is_stuck = threading.Event(), threading.Event(), threading.Event()

    def show(token: str) -> None:
        is_stuck.set()
        assert may_show.wait(PATIENCE)
        shown.append(token)

    with in_background(flooding(MANY, SIZE)) as flood, in_background(asking(flood, controller=controller)) as provider:
        asked(provider).pipe(deliver_on(thread, 256)).subscribe(show, on_completed=is_over.set)
        assert is_stuck.wait(PATIENCE)
        accepted = on_background(on_background(flood.answer()).stopped())
        depth = controller.snapshot().depth
        may_show.set()
        assert is_over.wait(PATIENCE)
    thread.dispose()

    assert accepted < (256 + ONE_READ) * SIZE + flood.unread
    assert 255 <= depth <= 256 + ONE_READ
    assert shown == numbered(MANY)


def test_real_tk_stops_the_server_while_its_main_loop_does_not_run() -> None:
    tkinter = pytest.importorskip("tkinter", reason="this Python has no tkinter")
    shown: list[str] = []
    with display():
        root = tkinter.Tk()
        root.after(60_000, root.quit)  # so that a failure does not hang
        with in_background(flooding(MANY, SIZE)) as flood, in_background(asking(flood)) as provider:
            asked(provider).pipe(deliver_on(TkScheduler(root), 256)).subscribe(shown.append, on_completed=root.quit)
            accepted = on_background(on_background(flood.answer()).stopped())
            assert not shown
            root.mainloop()
        root.destroy()
        gc.collect()  # here, on its own thread: Tk aborts when another one finds it in its garbage

    assert accepted < (256 + ONE_READ) * SIZE + flood.unread
    assert shown == numbered(MANY)


def test_a_ui_that_is_closed_while_the_server_waits_lets_go_of_everything() -> None:
    controller, ui = StreamBackpressureController(), Ui()

    with in_background(flooding(MANY, SIZE)) as flood, in_background(asking(flood, controller=controller)) as provider:
        subscription: abc.DisposableBase = asked(provider).pipe(deliver_on(ui, 256)).subscribe()
        answer = on_background(flood.answer())
        on_background(answer.stopped())

        ui.dispose()
        subscription.dispose()
        on_background(answer.closed.wait())

        assert not answer.is_whole
        assert (controller.snapshot().streams, controller.snapshot().depth) == (0, 0)
