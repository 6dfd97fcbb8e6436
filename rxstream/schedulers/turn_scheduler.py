"""What the schedulers of UI toolkits share: all but the way to get a turn."""

import time
from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from reactivex import abc, typing
from reactivex.scheduler.periodicscheduler import PeriodicScheduler

from rxstream.schedulers.turn_queue import TurnQueue
from rxstream.schedulers.work import Work

S = TypeVar("S")

BUDGET = timedelta(milliseconds=8)
"""For one turn: half of what a screen at 60 Hz gives a frame, which leaves the UI the other half."""


class TurnScheduler(PeriodicScheduler, abc.DisposableBase):
    """A scheduler that runs actions in turns on the thread of a UI; subclasses know the toolkit.

    Safe to use from any thread. `budget` is how long a turn may take before the UI
    has its own; one action that takes longer is not cut short. An action that runs a
    nested event loop, as modal dialogs do, holds up the others until it returns.
    Disposing the scheduler drops what waits, and whatever is scheduled later.
    """

    def __init__(self, *, budget: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        if budget <= timedelta(0):
            raise ValueError(f"the budget of a turn must be more than 0, not {budget}")
        self._queue = TurnQueue(budget=budget.total_seconds(), clock=clock)

    def schedule(self, action: typing.ScheduledAction[S], state: S | None = None) -> abc.DisposableBase:
        return self.schedule_relative(0.0, action, state)

    def schedule_relative(
        self, duetime: typing.RelativeTime, action: typing.ScheduledAction[S], state: S | None = None
    ) -> abc.DisposableBase:
        work = Work(self, action, state, self._queue.note_disposed)
        self._queue.post(work, self.to_seconds(duetime))
        if not self._queue.is_closed:
            self._wake()
        return work

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[S], state: S | None = None
    ) -> abc.DisposableBase:
        return self.schedule_relative(self.to_datetime(duetime) - self.now, action, state)

    def dispose(self) -> None:
        self._queue.close()

    @abstractmethod
    def _wake(self) -> None:
        """See to it that a turn comes when the queue wants one; called from any thread."""
