"""A bench for each of our schedulers: the scheduler, and a clock to try it with, both virtual.

All of them run inside `run_virtual`; the toolkits are stood in for by the few calls
that the schedulers make, carried out by the virtual loop.
"""
# ruff: noqa: N802  # the stand-ins for Qt bear Qt's names

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from reactivex import abc
from reactivex.scheduler.periodicscheduler import PeriodicScheduler
from reactivex.testing import TestScheduler

from rxstream.flow import Gate, Rate
from rxstream.schedulers import BufferingScheduler, FlowScheduler, QtScheduler, ThrottlingScheduler, TkScheduler
from rxstream.schedulers.gated_scheduler import GatedScheduler
from tests.virtual_loop import VirtualTimeLoop

SLACK = 0.05
"""Seconds by which the schedulers of a bench may be late at most, by their pace, their window or their look."""


def virtual_loop() -> VirtualTimeLoop:
    """Return the loop that runs here."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


class Bench:
    """A scheduler on the virtual loop."""

    def __init__(self, scheduler: PeriodicScheduler) -> None:
        self.scheduler = scheduler
        self.loop = virtual_loop()
        self.errors: list[BaseException] = self.loop.errors
        """What actions raised, as it was reported; a test takes out what it expects."""

    def seconds(self) -> float:
        """Return the time on the scheduler's clock."""
        return self.loop.time()

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything run that is due by then."""
        await asyncio.sleep(seconds)


class RxBench(Bench):
    """A scheduler over one of reactivex's virtual ones."""

    def __init__(self, make: Callable[[abc.SchedulerBase], PeriodicScheduler]) -> None:
        self.clock = TestScheduler()
        super().__init__(make(self.clock))

    def seconds(self) -> float:
        return self.clock.to_seconds(self.clock.now)

    async def advance(self, seconds: float) -> None:
        goal = self.seconds() + seconds
        while self.seconds() < goal:
            try:
                self.clock.advance_to(goal)
            except LookupError as error:
                self.errors.append(error)
                self.clock.stop()


class FakeTk:
    """What `TkScheduler` needs of a `tkinter.Tk`."""

    def __init__(self) -> None:
        self.loop = virtual_loop()
        self.thread = threading.get_ident()
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.waits: list[float] = []
        """The seconds of each `after`."""
        self.errors: list[BaseException] = self.loop.errors
        self.bindings: dict[str, Callable[[Any], None]] = {}

    def after(self, milliseconds: int, callback: Callable[[], None]) -> str:
        assert threading.get_ident() == self.thread, "Tk was called from another thread"
        name = f"after#{len(self.waits)}"
        self.waits.append(milliseconds / 1000)
        self.timers[name] = self.loop.call_later(milliseconds / 1000, callback)
        return name

    def after_cancel(self, name: str) -> None:
        assert threading.get_ident() == self.thread, "Tk was called from another thread"
        self.timers[name].cancel()

    def bind(self, event: str, callback: Callable[[Any], None], add: str) -> None:
        assert add == "+"
        self.bindings[event] = callback

    def destroy_child(self) -> None:
        self.bindings["<Destroy>"](SimpleNamespace(widget="a child"))

    def destroy(self) -> None:
        self.bindings["<Destroy>"](SimpleNamespace(widget=self))

    def nametowidget(self, name: str) -> "FakeTk":
        assert name == "."
        return self

    def report_callback_exception(self, _: type[BaseException], error: BaseException, __: Any) -> None:
        self.errors.append(error)


class FakeQtObject:
    """What `QtScheduler` needs of a `QObject`; its timers repeat, as Qt's do."""

    def __init__(self) -> None:
        self.loop = virtual_loop()
        self.timers: dict[int, asyncio.TimerHandle] = {}

    def moveToThread(self, thread: object) -> None:
        assert thread == "the application's"

    def startTimer(self, milliseconds: int, kind: object) -> int:
        assert kind == "precise"
        return self._start_timer(milliseconds, len(self.timers))

    def killTimer(self, number: int) -> None:
        self.timers[number].cancel()

    def _start_timer(self, milliseconds: int, number: int) -> int:
        def fire() -> None:
            self._start_timer(milliseconds, number)
            self.timerEvent(None)

        self.timers[number] = self.loop.call_later(milliseconds / 1000, fire)
        return number

    def customEvent(self, event: object) -> None:
        """Overridden by who gets events."""

    def timerEvent(self, event: object) -> None:
        """Overridden by who sets timers."""


class FakeQtApplication:
    """What `QtScheduler` needs of a `QCoreApplication`."""

    posted = 0

    def thread(self) -> str:
        return "the application's"

    @classmethod
    def instance(cls) -> "FakeQtApplication":
        return cls()

    @classmethod
    def postEvent(cls, receiver: FakeQtObject, event: object, priority: int) -> None:
        cls.posted += 1
        receiver.loop.call_soon_threadsafe(receiver.customEvent, event)


def fake_qt_core() -> Any:
    """Return what `QtScheduler` needs of a binding's `QtCore`, counting events anew."""

    class Application(FakeQtApplication):
        posted = 0

    return SimpleNamespace(
        QObject=FakeQtObject,
        QCoreApplication=Application,
        QEvent=type("QEvent", (str,), {"Type": SimpleNamespace(User="ours")}),
        Qt=SimpleNamespace(TimerType=SimpleNamespace(PreciseTimer="precise")),
    )


def tk_bench() -> Bench:
    root: Any = FakeTk()
    return Bench(TkScheduler(root, clock=root.loop.time))


def qt_bench() -> Bench:
    return Bench(QtScheduler(fake_qt_core(), clock=virtual_loop().time))


def gated_bench() -> Bench:
    return Bench(GatedScheduler(flow(), Gate()))


def flow() -> FlowScheduler:
    return FlowScheduler(virtual_loop())


MILLISECOND = timedelta(milliseconds=1)

BENCHES: dict[tuple[type, str], Callable[[], Bench]] = {
    (FlowScheduler, "on its loop"): lambda: Bench(flow()),
    (GatedScheduler, "over FlowScheduler"): gated_bench,
    (ThrottlingScheduler, "over a virtual one"): lambda: RxBench(lambda inner: ThrottlingScheduler(inner, MILLISECOND)),
    (ThrottlingScheduler, "over FlowScheduler"): lambda: Bench(ThrottlingScheduler(flow(), MILLISECOND)),
    (ThrottlingScheduler, "by permits"): lambda: Bench(ThrottlingScheduler(flow(), Rate(1_000, burst=3))),
    (BufferingScheduler, "by window, over a virtual one"): lambda: RxBench(
        lambda inner: BufferingScheduler(inner, window=MILLISECOND)
    ),
    (BufferingScheduler, "by window"): lambda: Bench(BufferingScheduler(flow(), window=MILLISECOND)),
    (BufferingScheduler, "by count"): lambda: Bench(BufferingScheduler(flow(), count=2)),
    (BufferingScheduler, "by both"): lambda: Bench(BufferingScheduler(flow(), window=MILLISECOND, count=2)),
    (TkScheduler, "on a stand-in for Tk"): tk_bench,
    (QtScheduler, "on a stand-in for Qt"): qt_bench,
}
