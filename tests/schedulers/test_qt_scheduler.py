"""`QtScheduler`, on a stand-in for Qt under virtual time, and on a real one where it is installed."""

import asyncio
import gc
import importlib.machinery
import importlib.util
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Generator
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
import reactivex
from reactivex import abc
from reactivex import operators as ops
from reactivex.subject import Subject

from rxstream.schedulers import QtScheduler
from rxstream.schedulers.qt_scheduler import find_qt_core
from tests.schedulers.benches import fake_qt_core, virtual_loop
from tests.virtual_loop import virtual_time


class OnQt:
    """A scheduler on a stand-in for Qt, and an action that notes when it ran."""

    def __init__(self, **options: Any) -> None:
        self.qt = fake_qt_core()
        self.loop = virtual_loop()
        self.scheduler = QtScheduler(self.qt, clock=self.loop.time, **options)
        self.ran: list[tuple[float, str]] = []

    def note(self, _: abc.SchedulerBase, name: str | None = None) -> None:
        self.ran.append((self.loop.time(), name or ""))

    @property
    def posted(self) -> int:
        return self.qt.QCoreApplication.posted


def on_another_thread(call: Callable[[], object]) -> None:
    """Make `call` on a thread of its own and wait for it."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


@virtual_time
async def test_one_event_is_posted_for_all_that_waits() -> None:
    qt = OnQt()

    for name in "abc":
        qt.scheduler.schedule(qt.note, name)
        on_another_thread(lambda: qt.scheduler.schedule(qt.note, "-"))
    await asyncio.sleep(1)
    assert qt.posted == 1

    qt.scheduler.schedule(qt.note, "d")
    await asyncio.sleep(1)
    assert qt.posted == 2

    assert "".join(name for _, name in qt.ran) == "a-b-c-d"


@virtual_time
async def test_timers_are_kept_to_the_millisecond_and_cost_nothing_in_between() -> None:
    qt = OnQt()
    dues = [0.0101, 0.5, 1.2345, 60.0]

    for due in dues:
        qt.scheduler.schedule_relative(due, qt.note)
    await asyncio.sleep(100)

    assert all(0 <= time - due <= 0.001 for (time, _), due in zip(qt.ran, dues, strict=True))
    assert qt.posted == 1
    assert qt.loop.pending_timers == 0


@virtual_time
async def test_a_timer_gives_way_to_an_earlier_one() -> None:
    qt = OnQt()

    qt.scheduler.schedule_relative(60, qt.note, "late")
    await asyncio.sleep(1)
    on_another_thread(lambda: qt.scheduler.schedule_relative(1, qt.note, "early"))
    await asyncio.sleep(100)

    assert qt.ran == [(2, "early"), (60, "late")]


@virtual_time
async def test_when_a_budget_is_spent_the_next_turn_is_posted_behind_what_the_user_did() -> None:
    qt = OnQt(budget=timedelta(milliseconds=8))

    def work(scheduler: abc.SchedulerBase, name: str | None = None) -> None:
        qt.note(scheduler, name)
        qt.loop.advance(0.005)

    for name in "abcde":
        qt.scheduler.schedule(work, name)
    qt.loop.call_soon(qt.note, qt.scheduler, "click")
    await asyncio.sleep(1)

    assert [name for _, name in qt.ran] == ["a", "b", "click", "c", "d", "e"]


@virtual_time
async def test_an_action_that_runs_an_event_loop_of_its_own_holds_the_others_up_until_it_returns() -> None:
    qt = OnQt()
    receiver: Any = qt.scheduler._receiver  # pyright: ignore[reportPrivateUsage]  # what Qt delivers events to

    def open_dialog(scheduler: abc.SchedulerBase, _: object = None) -> None:
        qt.note(scheduler, "opened")
        qt.scheduler.schedule(qt.note, "next")
        receiver.customEvent("delivered by the loop of the dialog")
        assert qt.posted == 2  # and no more while the dialog is open, for that would go round and round
        qt.note(scheduler, "closed")

    qt.scheduler.schedule(open_dialog)
    await asyncio.sleep(1)

    assert [name for _, name in qt.ran] == ["opened", "closed", "next"]


@virtual_time
async def test_disposed_it_drops_what_waits_and_what_comes_later() -> None:
    qt = OnQt()
    qt.scheduler.schedule_relative(60, qt.note, "dropped")
    await asyncio.sleep(1)

    qt.scheduler.schedule(qt.note, "dropped too")
    on_another_thread(qt.scheduler.dispose)
    await asyncio.sleep(0)
    qt.scheduler.schedule(qt.note, "too late")

    assert qt.loop.pending_timers == 0
    assert qt.posted == 3  # for the timer, the action and the end
    await asyncio.sleep(100)
    assert not qt.ran


@pytest.mark.parametrize(
    ("imported", "installed", "found"),
    [
        ([], ["PySide6", "PyQt6"], "PySide6"),
        ([], ["PyQt6"], "PyQt6"),
        (["PyQt6"], ["PySide6", "PyQt6"], "PyQt6"),
    ],
)
def test_the_binding_that_the_program_uses_is_used(
    imported: list[str], installed: list[str], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(imported, installed, monkeypatch)

    assert find_qt_core() is sys.modules[f"{found}.QtCore"]


def test_without_qt_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend([], [], monkeypatch)

    with pytest.raises(ImportError, match=r"rxstream\[qt\]"):
        QtScheduler()


def pretend(imported: list[str], installed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Qt bindings look imported and installed as said, whatever is."""

    def find_spec(name: str) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, None) if name in installed else None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    for name in ("PySide6", "PyQt6"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, f"{name}.QtCore", ModuleType(f"{name}.QtCore"))
    for name in imported:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Generator[Any]:
    """A real Qt application whose event loop gives up after a minute, so that a failure does not hang."""
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    widgets = qt_widgets()
    application = widgets.QApplication.instance() or widgets.QApplication([])
    limit = find_qt_core().QTimer()
    limit.setSingleShot(True)
    limit.timeout.connect(application.quit)
    limit.start(60_000)
    yield application
    limit.stop()


def qt_widgets() -> Any:
    """Return `QtWidgets` of the binding that is installed; skip, and say so, where there is none."""
    try:
        name = find_qt_core().__name__.partition(".")[0]
    except ImportError:
        pytest.skip("neither PySide6 nor PyQt6 is installed")
    return pytest.importorskip(f"{name}.QtWidgets", exc_type=ImportError)  # it needs libraries of the system


def test_real_qt_runs_what_threads_scheduled_before_its_event_loop_began(application: Any) -> None:
    scheduler = QtScheduler()
    ran: list[tuple[int, int]] = []
    threads: set[int] = set()

    def action(_: abc.SchedulerBase, name: tuple[int, int] | None = None) -> None:
        assert name is not None
        ran.append(name)
        threads.add(threading.get_ident())
        if len(ran) == 400:
            application.quit()

    for name in range(4):
        on_another_thread(lambda name=name: [scheduler.schedule(action, (name, number)) for number in range(100)])
    application.exec()

    assert ran == [(name, number) for name in range(4) for number in range(100)]
    assert threads == {threading.get_ident()}


def test_real_qt_observes_a_stream_of_another_thread(application: Any) -> None:
    shown: list[int] = []
    source: Subject[int] = Subject()
    source.pipe(ops.observe_on(QtScheduler())).subscribe(shown.append, on_completed=application.quit)

    thread = threading.Thread(target=lambda: reactivex.range(2_000).subscribe(source))
    thread.start()
    application.exec()
    thread.join()

    assert shown == list(range(2_000))


def test_real_qt_calls_an_action_that_nobody_else_remembers(application: Any) -> None:
    steps: list[str] = []

    def last(_: abc.SchedulerBase, __: object = None) -> None:
        steps.append("last")
        application.quit()

    def first(_: abc.SchedulerBase, __: object = None) -> None:
        steps.append("first")
        collector.start(0)
        QtScheduler().schedule_relative(0.05, last)

    collector = find_qt_core().QTimer()
    collector.timeout.connect(gc.collect)
    QtScheduler().schedule(first)
    gc.collect()
    application.exec()
    collector.stop()

    assert steps == ["first", "last"]


def test_a_scheduler_with_nothing_to_do_is_collected(application: Any) -> None:
    scheduler = QtScheduler()
    is_alive = weakref.ref(scheduler)
    scheduler.schedule_relative(60, lambda _, __: None).dispose()
    application.processEvents()

    del scheduler
    gc.collect()

    assert is_alive() is None


def test_real_qt_sets_timers_whichever_thread_asks(application: Any) -> None:
    scheduler = QtScheduler()
    ran: set[str] = set()

    def action(_: abc.SchedulerBase, name: str | None = None) -> None:
        ran.add(name or "")
        if len(ran) == 3:
            application.quit()

    scheduler.schedule_relative(0.005, action, "here")
    on_another_thread(lambda: scheduler.schedule_relative(0.003, action, "there"))
    on_another_thread(lambda: scheduler.schedule_relative(0.008, action, "there too"))
    scheduler.schedule_relative(0.001, action, "disposed").dispose()
    application.exec()

    assert ran == {"here", "there", "there too"}


def test_a_scheduler_made_on_another_thread_runs_on_that_of_the_application(application: Any) -> None:
    schedulers: list[QtScheduler] = []
    threads: list[int] = []

    def action(_: abc.SchedulerBase, __: object = None) -> None:
        threads.append(threading.get_ident())
        application.quit()

    on_another_thread(lambda: schedulers.append(QtScheduler()))
    schedulers[0].schedule_relative(0.001, action)
    application.exec()

    assert threads == [threading.get_ident()]


def test_real_qt_goes_on_after_an_action_that_raised(application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = QtScheduler()
    reported: list[BaseException] = []

    def report(_: type[BaseException], error: BaseException, __: object) -> None:
        reported.append(error)

    def fail(_: abc.SchedulerBase, __: object = None) -> None:
        raise LookupError("not here")

    def leave(_: abc.SchedulerBase, __: object = None) -> None:
        application.quit()

    monkeypatch.setattr(sys, "excepthook", report)
    scheduler.schedule(fail)
    scheduler.schedule_relative(0.001, leave)
    application.exec()

    assert [type(error) for error in reported] == [LookupError]


def test_real_qt_has_its_turn_while_an_action_schedules_itself_for_ever(application: Any) -> None:
    scheduler = QtScheduler()
    seen: list[str] = []
    timer = find_qt_core().QTimer()

    def again(scheduler: abc.SchedulerBase, _: object = None) -> None:
        seen.append("action")
        scheduler.schedule(again)

    def tick() -> None:
        seen.append("tick")
        if seen.count("tick") == 3:
            application.quit()

    timer.timeout.connect(tick)
    timer.start(1)
    scheduler.schedule(again)
    application.exec()
    timer.stop()
    scheduler.dispose()
    application.processEvents()

    assert seen.count("tick") == 3
    assert "action" in seen


PROGRAM = """
import sys, threading
from rxstream.schedulers import QtScheduler
scheduler = QtScheduler()
from {binding} import QtCore

def show(_, name=None):
    print(name)
    if name == "last":
        application.quit()

threads = [threading.Thread(target=scheduler.schedule, args=(show, "first")),
           threading.Thread(target=scheduler.schedule_relative, args=(0.001, show, "last"))]
for thread in threads:
    thread.start()
    thread.join()
application = QtCore.QCoreApplication([])
QtCore.QTimer.singleShot(60_000, application.quit)
sys.exit(application.exec())
"""


def test_a_scheduler_may_be_made_and_used_before_there_is_an_application() -> None:
    binding = qt_widgets().__name__.partition(".")[0]

    program = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(binding=binding)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert program.stdout.split() == ["first", "last"]
    assert (program.returncode, program.stderr) == (0, "")
