"""The heart of the UI schedulers: what waits for its turn on the thread of a UI.

Any thread posts; the UI's thread runs turns. A turn runs what is due, by due time
and first come, first served among equals, until nothing is or its budget of seconds
is spent: then it is the UI's turn to draw and to listen. It knows no toolkit and no
scheduler, and its clock is an argument.
"""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable

from rxstream.schedulers.work import Work

_FEW = 64
"""So many disposed timers are not worth a sweep."""


class TurnQueue:
    """Work that waits for its due time and its turn."""

    def __init__(self, *, budget: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._clock = clock
        self._lock = threading.Lock()
        # Both hold (due, number, work): what was due when it came, in order, and a heap of what was not.
        self._ready: deque[tuple[float, int, Work]] = deque()
        self._timers: list[tuple[float, int, Work]] = []
        self._numbers = itertools.count()
        self._disposed_timers = 0  # about: two threads may count at once
        self.is_running = False
        """Whether a turn is on the stack: an action may run an event loop of its own, as modal dialogs do."""
        self.is_closed = False

    def post(self, work: Work, seconds: float = 0.0) -> None:
        """Let `work` wait for its turn, due in `seconds`; dispose it if the queue is closed."""
        with self._lock:
            if not self.is_closed:
                due = self._clock() + max(0.0, seconds)
                if seconds <= 0:
                    self._ready.append((due, next(self._numbers), work))
                else:
                    self._sweep()
                    heapq.heappush(self._timers, (due, next(self._numbers), work))
                return
        work.dispose()

    def run_turn(self, report: Callable[[Exception], None]) -> bool:
        """Run what is due until the budget is spent, at least one piece of work; return whether anything ran.

        An exception of the work is reported, and the turn goes on. A turn within a
        turn runs nothing: a stream's next item has to wait until the one before is taken.
        """
        if self.is_running:
            return False
        self.is_running = True
        has_run = False
        stop_at = self._clock() + self._budget
        try:
            while (work := self._take_due()) is not None:
                has_run = True
                try:
                    work.run()
                except Exception as error:
                    report(error)
                if self._clock() >= stop_at:
                    break
        finally:
            self.is_running = False
        return has_run

    def wait(self) -> float | None:
        """Return the seconds until something is due, 0 if it is already; `None` while nothing waits."""
        with self._lock:
            self._forget_disposed()
            if self._ready:
                return 0.0
            return max(0.0, self._timers[0][0] - self._clock()) if self._timers else None

    def close(self) -> None:
        """Dispose everything that waits, and whatever comes later."""
        with self._lock:
            self.is_closed = True
            waiting = [work for _, _, work in (*self._ready, *self._timers)]
            self._ready.clear()
            self._timers.clear()
        for work in waiting:
            work.dispose()

    def note_disposed(self, _: Work) -> None:
        """Take note that work was disposed while it waited. Takes no lock: disposal may come at any moment."""
        self._disposed_timers += 1

    def _take_due(self) -> Work | None:
        """Take what is first by due time, if that has come."""
        with self._lock:
            self._forget_disposed()
            ready, timers = self._ready, self._timers
            if timers and (not ready or timers[0] < ready[0]):
                return heapq.heappop(timers)[2] if timers[0][0] <= self._clock() else None
            return ready.popleft()[2] if ready else None

    def _forget_disposed(self) -> None:
        """Drop the disposed that are first; those behind are reached in time, or swept."""
        while self._ready and self._ready[0][2].is_disposed:
            self._ready.popleft()
        while self._timers and self._timers[0][2].is_disposed:
            heapq.heappop(self._timers)

    def _sweep(self) -> None:
        """Drop all disposed timers if they are many: each item of a stream under `timeout` sets one for later."""
        if self._disposed_timers > max(_FEW, len(self._timers) // 2):
            self._timers = [timer for timer in self._timers if not timer[2].is_disposed]
            heapq.heapify(self._timers)
            self._disposed_timers = 0
