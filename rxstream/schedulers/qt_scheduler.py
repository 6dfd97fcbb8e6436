"""A scheduler on Qt's event loop, with PySide6 or PyQt6.

Posting an event is the one thing that any thread may do to a Qt object. One event
is on its way at a time, however many actions wait; it is delivered on the thread of
the application, where the turn runs. reactivex's `QtScheduler` sets timers instead,
which belong to the thread that sets them: from another one nothing ever arrives.
"""

import functools
import importlib
import importlib.util
import math
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from rxstream.schedulers.turn_scheduler import BUDGET, TurnScheduler

_BINDINGS = ("PySide6", "PyQt6")
_LOW_PRIORITY = -1
"""Qt.LowEventPriority: what the user does, and drawing, go first."""


_expecting: "set[QtScheduler]" = set()
"""Those whose turn is to come. Qt knows only their receivers, and does not keep those alive."""


class QtScheduler(TurnScheduler):
    """The event loop of the Qt application, as a scheduler.

    `qt_core` is the module `PySide6.QtCore` or `PyQt6.QtCore`; by default that of
    the binding which the program has imported, else of the one that is installed.
    To be made on the thread of the application, or once there is one. What an action
    raises goes to `sys.excepthook`.
    """

    def __init__(
        self, qt_core: Any = None, *, budget: timedelta = BUDGET, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(budget=budget, clock=clock)
        self._qt = qt_core or find_qt_core()
        self._is_posted = False  # a turn is on its way
        self._timer: int | None = None
        self._receiver = _receiver_class(self._qt.QObject)()
        self._receiver.turn = self._turn
        application = self._qt.QCoreApplication.instance()
        if application is not None:
            self._receiver.moveToThread(application.thread())

    def dispose(self) -> None:
        super().dispose()
        self._post()  # the timer can only be stopped on its own thread

    def _wake(self) -> None:
        if not self._is_posted:
            self._post()

    def _post(self) -> None:
        # Set before the event goes and unset before the queue is looked at: what is appended between is seen.
        self._is_posted = True
        _expecting.add(self)
        event = self._qt.QEvent(self._qt.QEvent.Type.User)
        self._qt.QCoreApplication.postEvent(self._receiver, event, _LOW_PRIORITY)

    def _turn(self) -> None:
        self._is_posted = False
        _expecting.discard(self)
        self._stop_timer()  # Qt's timers repeat
        if self._queue.is_running:  # in the nested loop of an action; the turn that runs it will look again
            return
        try:
            self._queue.run_turn(self._report)
        finally:
            self._look_again()

    def _look_again(self) -> None:
        """Post the next turn, or set the timer for it."""
        wait = self._queue.wait()
        if wait == 0:
            self._wake()
        elif wait is not None:
            _expecting.add(self)
            precise = self._qt.Qt.TimerType.PreciseTimer  # a coarse one may be 5 % late
            self._timer = self._receiver.startTimer(math.ceil(wait * 1000), precise)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._receiver.killTimer(self._timer)
            self._timer = None

    def _report(self, error: Exception) -> None:
        sys.excepthook(type(error), error, error.__traceback__)


def find_qt_core() -> Any:
    """Return `QtCore` of the Qt binding that is imported already, else of one that is installed."""
    imported = [name for name in _BINDINGS if name in sys.modules]
    for name in imported or _BINDINGS:
        if importlib.util.find_spec(name) is not None:
            return importlib.import_module(f"{name}.QtCore")
    raise ImportError("QtScheduler needs PySide6 or PyQt6: pip install 'rxstream[qt]'")


@functools.cache
def _receiver_class(qt_object: Any) -> Any:
    """Return the class of Qt objects that call `turn` at each of our events and of their timers.

    One for each binding, which never lets go of a class.
    """

    class Receiver(qt_object):
        turn: Callable[[], None]

        def customEvent(self, event: Any) -> None:  # noqa: ARG002, N802  # Qt's name and arguments
            self.turn()

        def timerEvent(self, event: Any) -> None:  # noqa: ARG002, N802
            self.turn()

    return Receiver
