"""A scheduler on Tk's main loop.

Only the thread of the main loop may call Tk: from elsewhere a call blocks until the
loop answers, and fails or is lost where no loop runs yet (so reactivex's
`TkinterScheduler`). Other threads therefore only append to the queue, and Tk's thread
looks at it every few milliseconds: more seldom the longer nothing came, so that an
idle program hardly works, and what is scheduled on Tk's own thread never waits for a
look.
"""

import math
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from rxstream.schedulers.turn_scheduler import BUDGET, TurnScheduler

if TYPE_CHECKING:
    from tkinter import Event, Misc

_BREATH = 0.001
"""Seconds between two turns while more waits. Not 0: timers that are always due keep Tk from ever redrawing."""
_SHORTEST_LOOK, _LONGEST_LOOK = 0.008, 0.032
"""Seconds between two looks at an empty queue: what an item from another thread may wait at most, two frames."""


class TkScheduler(TurnScheduler):
    """The main loop of `root`, a `tkinter.Tk` or any other widget, as a scheduler.

    To be made on the thread of the main loop, before or while that runs. It ends
    with the widget. What an action raises goes to the root's
    `report_callback_exception`, as with every callback of Tk.
    """

    def __init__(
        self, root: "Misc", *, budget: timedelta = BUDGET, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(budget=budget, clock=clock)
        self._root: Misc | None = root
        self._clock = clock
        self._thread = threading.get_ident()
        self._worked_at = clock()
        self._look: str | None = None  # Tk's name for the timer that is set
        self._look_at = 0.0
        root.bind("<Destroy>", self._on_destroy, add="+")
        self._look_again()

    def dispose(self) -> None:
        super().dispose()
        if threading.get_ident() == self._thread:
            self._let_go()  # from another thread: the look that is set finds the queue closed, and is the last

    def _wake(self) -> None:
        if threading.get_ident() == self._thread and not self._queue.is_running:
            self._look_again()

    def _turn(self) -> None:
        self._look = None
        try:
            if self._queue.run_turn(self._report):
                self._worked_at = self._clock()
        finally:
            self._look_again()

    def _look_again(self) -> None:
        """Set the timer for the next look, unless one is set that comes as soon."""
        if self._queue.is_closed or self._root is None:
            self._let_go()
            return
        now = self._clock()
        idle = min(max((now - self._worked_at) / 8, _SHORTEST_LOOK), _LONGEST_LOOK)
        wait = self._queue.wait()
        seconds = idle if wait is None else min(max(wait, _BREATH), idle)
        if self._look is not None:
            if self._look_at <= now + seconds:
                return
            self._root.after_cancel(self._look)
        self._look_at = now + seconds
        self._look = self._root.after(math.ceil(round(seconds * 1000, 3)), self._turn)

    def _let_go(self) -> None:
        """Cancel the look and forget the widget: Tk aborts when another thread is the last to drop one."""
        if self._root is not None and self._look is not None:
            self._root.after_cancel(self._look)
        self._root = self._look = None

    def _report(self, error: Exception) -> None:
        report = sys.excepthook if self._root is None else self._root.nametowidget(".").report_callback_exception
        report(type(error), error, error.__traceback__)

    def _on_destroy(self, event: "Event[Misc]") -> None:
        if event.widget is self._root:  # a window hears of its children's end too
            self.dispose()
