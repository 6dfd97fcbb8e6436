"""`TkScheduler`, on a stand-in for Tk under virtual time, and on a real one where there is a display."""

import asyncio
import contextlib
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import reactivex
from reactivex import abc
from reactivex import operators as ops
from reactivex.subject import Subject

from rxstream.schedulers import TkScheduler
from tests.display import display
from tests.schedulers.benches import FakeTk
from tests.virtual_loop import virtual_time

if TYPE_CHECKING:
    from tkinter import Tk


class OnTk:
    """A scheduler on a stand-in for Tk, and an action that notes when it ran."""

    def __init__(self, **options: Any) -> None:
        self.root: Any = FakeTk()
        self.loop = self.root.loop
        self.scheduler = TkScheduler(self.root, clock=self.loop.time, **options)
        self.ran: list[tuple[float, str]] = []

    def note(self, _: abc.SchedulerBase, name: str | None = None) -> None:
        self.ran.append((self.loop.time(), name or ""))


def on_another_thread(call: Callable[[], object]) -> None:
    """Make `call` on a thread of its own and wait for it."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


@virtual_time
async def test_an_idle_scheduler_looks_ever_more_seldom() -> None:
    tk = OnTk()

    await asyncio.sleep(10)

    assert tk.root.waits[0] == 0.008
    assert tk.root.waits == sorted(tk.root.waits)
    assert tk.root.waits[-1] == 0.032


@virtual_time
async def test_what_another_thread_schedules_waits_for_the_next_look_at_most() -> None:
    tk = OnTk()
    await asyncio.sleep(10)

    on_another_thread(lambda: tk.scheduler.schedule(tk.note, "first"))  # the stand-in raises if it calls Tk
    await asyncio.sleep(0.032)
    on_another_thread(lambda: tk.scheduler.schedule(tk.note, "soon after"))
    await asyncio.sleep(0.008)

    assert [name for _, name in tk.ran] == ["first", "soon after"]


@virtual_time
async def test_what_is_scheduled_on_tks_own_thread_waits_for_no_look() -> None:
    tk = OnTk()
    await asyncio.sleep(10)

    tk.scheduler.schedule(tk.note, "at once")
    tk.scheduler.schedule_relative(0.005, tk.note, "timer")
    await asyncio.sleep(1)

    assert tk.ran == [(10.001, "at once"), (10.005, "timer")]


@virtual_time
async def test_timers_are_kept_to_the_millisecond_and_never_early() -> None:
    tk = OnTk()
    dues = [0.0101, 0.5, 1.2345, 60.0]

    for due in dues:
        tk.scheduler.schedule_relative(due, tk.note)
    await asyncio.sleep(100)

    assert all(0 <= time - due <= 0.001 for (time, _), due in zip(tk.ran, dues, strict=True))


@virtual_time
async def test_between_two_turns_tk_has_time_to_draw() -> None:
    tk = OnTk(budget=timedelta(milliseconds=8))

    def work(scheduler: abc.SchedulerBase, name: str | None = None) -> None:
        tk.note(scheduler, name)
        tk.loop.advance(0.005)

    for name in "abcde":
        tk.scheduler.schedule(work, name)
    await asyncio.sleep(1)

    assert tk.ran == [(0.001, "a"), (0.006, "b"), (0.012, "c"), (0.017, "d"), (0.023, "e")]


@virtual_time
async def test_an_action_may_schedule_at_once_from_within_a_turn() -> None:
    tk = OnTk()

    def work(scheduler: abc.SchedulerBase, name: str | None = None) -> None:
        tk.note(scheduler, name)
        scheduler.schedule(tk.note, "b")

    tk.scheduler.schedule(work, "a")
    await asyncio.sleep(1)

    assert [name for _, name in tk.ran] == ["a", "b"]


@virtual_time
async def test_it_ends_with_its_widget_but_not_with_a_child_of_it() -> None:
    tk = OnTk()

    tk.scheduler.schedule(tk.note, "still there")
    tk.root.destroy_child()
    await asyncio.sleep(1)
    tk.scheduler.schedule(tk.note, "dropped")
    tk.scheduler.schedule_relative(1, tk.note, "dropped too")
    tk.root.destroy()

    assert tk.loop.pending_timers == 0
    tk.scheduler.schedule(tk.note, "too late")
    await asyncio.sleep(10)
    assert [name for _, name in tk.ran] == ["still there"]


@virtual_time
async def test_disposed_on_another_thread_it_calls_tk_no_more() -> None:
    tk = OnTk()
    tk.scheduler.schedule_relative(1, tk.note, "dropped")

    on_another_thread(tk.scheduler.dispose)
    await asyncio.sleep(0.032)

    assert tk.loop.pending_timers == 0
    assert not tk.ran


@virtual_time
async def test_once_it_has_ended_it_does_not_keep_tk_alive() -> None:
    tk = OnTk()
    tk.scheduler.schedule(tk.note)
    is_alive = weakref.ref(tk.root)

    tk.root.destroy()
    scheduler, tk = tk.scheduler, None
    await asyncio.sleep(1)
    gc.collect()

    assert is_alive() is None
    assert scheduler.schedule(lambda _, __: None)


@virtual_time
async def test_what_an_action_raises_after_it_destroyed_the_window_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    tk = OnTk()
    reported: list[BaseException] = []

    def report(_: type[BaseException], error: BaseException, __: object) -> None:
        reported.append(error)

    def leave_and_fail(_: abc.SchedulerBase, __: object = None) -> None:
        tk.root.destroy()
        raise LookupError("not here")

    monkeypatch.setattr(sys, "excepthook", report)
    tk.scheduler.schedule(leave_and_fail)
    await asyncio.sleep(1)

    assert [type(error) for error in reported] == [LookupError]


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="budget"):
        TkScheduler(None, budget=timedelta(0))  # type: ignore[arg-type]  # it looks at the budget first


@pytest.fixture(scope="module")
def screen() -> Generator[None]:
    pytest.importorskip("tkinter", reason="this Python has no tkinter")
    with display():
        yield


@pytest.fixture
def root(screen: None) -> "Generator[Tk]":
    """A real Tk whose main loop gives up after a minute, so that a failure does not hang."""
    import tkinter as tk

    root = tk.Tk()
    root.after(60_000, root.quit)
    yield root
    with contextlib.suppress(tk.TclError):  # a test may have destroyed it
        root.destroy()
    gc.collect()  # here, on its own thread: Tk aborts when another one finds it in its garbage


def test_real_tk_runs_what_threads_scheduled_before_its_main_loop_began(root: "Tk") -> None:
    scheduler = TkScheduler(root)
    ran: list[tuple[int, int]] = []
    threads: set[int] = set()

    def action(_: abc.SchedulerBase, name: tuple[int, int] | None = None) -> None:
        assert name is not None
        ran.append(name)
        threads.add(threading.get_ident())
        if len(ran) == 400:
            root.quit()

    for name in range(4):
        on_another_thread(lambda name=name: [scheduler.schedule(action, (name, number)) for number in range(100)])
    root.mainloop()

    assert ran == [(name, number) for name in range(4) for number in range(100)]
    assert threads == {threading.get_ident()}


def test_real_tk_observes_a_stream_of_another_thread(root: "Tk") -> None:
    shown: list[int] = []
    source: Subject[int] = Subject()
    source.pipe(ops.observe_on(TkScheduler(root))).subscribe(shown.append, on_completed=root.quit)

    thread = threading.Thread(target=lambda: reactivex.range(2_000).subscribe(source))
    thread.start()
    root.mainloop()
    thread.join()

    assert shown == list(range(2_000))


def test_real_tk_is_told_what_an_action_raised_and_goes_on(root: "Tk", monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = TkScheduler(root)
    reported: list[BaseException] = []

    def report(_: type[BaseException], error: BaseException, __: object) -> None:
        reported.append(error)

    def fail(_: abc.SchedulerBase, __: object = None) -> None:
        raise LookupError("not here")

    def leave(_: abc.SchedulerBase, __: object = None) -> None:
        root.quit()

    monkeypatch.setattr(root, "report_callback_exception", report)
    scheduler.schedule(fail)
    scheduler.schedule_relative(0.01, leave)
    root.mainloop()

    assert [type(error) for error in reported] == [LookupError]


def test_real_tk_has_its_turn_while_an_action_schedules_itself_for_ever(root: "Tk") -> None:
    scheduler = TkScheduler(root)
    seen: list[str] = []

    def again(scheduler: abc.SchedulerBase, _: object = None) -> None:
        seen.append("action")
        scheduler.schedule(again)

    def idle() -> None:  # Tk draws when it is idle
        seen.append("idle")
        if seen.count("idle") == 3:
            root.quit()
        else:
            root.after(1, root.after_idle, idle)

    scheduler.schedule(again)
    root.after(1, root.after_idle, idle)
    root.mainloop()

    assert seen.count("idle") == 3
    assert seen[-1] == "idle"
    assert "action" in seen[: seen.index("idle")]


def test_real_tk_closed_in_mid_stream_complains_of_nothing(root: "Tk", capfd: pytest.CaptureFixture[str]) -> None:
    scheduler = TkScheduler(root)
    shown: list[int] = []

    def show(number: int) -> None:
        shown.append(number)
        if number == 100:
            root.destroy()

    source: Subject[int] = Subject()
    source.pipe(ops.observe_on(scheduler)).subscribe(show)

    thread = threading.Thread(target=lambda: reactivex.range(10_000).subscribe(source))
    thread.start()
    root.mainloop()
    thread.join()
    on_another_thread(lambda: scheduler.schedule(lambda _, __: shown.append(-1)))

    assert shown == list(range(101))
    assert capfd.readouterr().err == ""
