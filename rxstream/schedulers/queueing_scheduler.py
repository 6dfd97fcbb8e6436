"""What schedulers share that make actions wait in a queue before an inner scheduler runs them.

An action that is due joins the queue. While anything waits, one turn, and only one,
is planned on the inner scheduler; it runs some of what waits, one after another,
and then the next is planned. So actions never overlap, whatever the inner scheduler
does with several, and an action that schedules itself again waits like any other.
"""

import itertools
import threading
from abc import abstractmethod
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any, TypeVar

from reactivex import abc, typing
from reactivex.disposable import CompositeDisposable, SingleAssignmentDisposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler

from rxstream.schedulers.work import Work

S = TypeVar("S")

AT_ONCE = timedelta(0)

_Plan = tuple[SingleAssignmentDisposable | None, SingleAssignmentDisposable, timedelta]
"""A turn that is replaced, the turn to start instead, and how long that one waits."""


class QueueingScheduler(PeriodicScheduler):
    """A queue before `inner`; subclasses say when the next turn comes and how much it runs.

    They are asked while the lock is held, so they call nothing that could call back.
    """

    def __init__(self, inner: abc.SchedulerBase) -> None:
        super().__init__()
        self.inner = inner
        self._lock = threading.Lock()
        self._queue: OrderedDict[Work, int] = OrderedDict()  # in order; each with the number it came as
        self._numbers = itertools.count()
        self._turn: SingleAssignmentDisposable | None = None
        self._is_hurried = False  # the turn that is planned comes at once
        self._is_running = False

    @property
    def now(self) -> datetime:
        return self.inner.now

    @property
    def depth(self) -> int:
        """How many actions are due and wait for their turn."""
        return len(self._queue)

    def schedule(self, action: typing.ScheduledAction[S], state: S | None = None) -> abc.DisposableBase:
        work = Work(self, action, state, self._drop)
        with self._lock:
            self._check_room()
            turn = self._admit(work)
        self._start(turn)
        return work

    def schedule_relative(
        self, duetime: typing.RelativeTime, action: typing.ScheduledAction[S], state: S | None = None
    ) -> abc.DisposableBase:
        if self.to_timedelta(duetime) <= AT_ONCE:
            return self.schedule(action, state)
        work = Work(self, action, state, self._drop)
        return CompositeDisposable(work, self.inner.schedule_relative(duetime, self._when_due, work))

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[S], state: S | None = None
    ) -> abc.DisposableBase:
        if self.to_datetime(duetime) <= self.now:
            return self.schedule(action, state)
        work = Work(self, action, state, self._drop)
        return CompositeDisposable(work, self.inner.schedule_absolute(duetime, self._when_due, work))

    @abstractmethod
    def _delay(self) -> timedelta:
        """Return how long the next turn has to wait; something waits in the queue."""

    @abstractmethod
    def _begin_turn(self) -> float:
        """Return how many actions the turn that begins may run at most; 0 if it came too early."""

    def _is_urgent(self) -> bool:
        """Whether so much waits that a turn planned for later has to come at once."""
        return False

    def _check_room(self) -> None:
        """Raise if the queue takes no more."""

    def _depth_changed(self) -> None:
        """Take note of the new depth."""

    def _when_due(self, _: abc.SchedulerBase, work: Work | None = None) -> None:
        if work is None or work.is_disposed:  # some schedulers cancel a timer too late
            return
        with self._lock:
            turn = self._admit(work)
        self._start(turn)

    def _admit(self, work: Work) -> _Plan | None:
        self._queue[work] = next(self._numbers)
        self._depth_changed()
        return self._plan()

    def _drop(self, work: Work) -> None:
        """Take disposed work out of the queue; a turn that nothing waits for is not left to come."""
        idle = None
        with self._lock:
            if self._queue.pop(work, None) is None:
                return
            self._depth_changed()
            if not self._queue and not self._is_running:
                idle, self._turn = self._turn, None
        if idle is not None:
            idle.dispose()

    def _plan(self, *, at_once: bool = False) -> _Plan | None:
        """Return the turn to start once the lock is free: inner schedulers may run it on the spot."""
        if self._is_running or not self._queue:
            return None
        at_once = at_once or self._is_urgent()
        late = self._turn
        if late is not None and (self._is_hurried or not at_once):
            return None
        self._turn = turn = SingleAssignmentDisposable()
        self._is_hurried = at_once
        return late, turn, AT_ONCE if at_once else self._delay()

    def _start(self, plan: _Plan | None) -> None:
        if plan is None:
            return
        late, turn, delay = plan
        if late is not None:
            late.dispose()
        if delay > AT_ONCE:
            turn.disposable = self.inner.schedule_relative(delay, self._run_turn, turn)
        else:
            turn.disposable = self.inner.schedule(self._run_turn, turn)

    def _run_turn(self, _: abc.SchedulerBase, turn: Any = None) -> None:
        with self._lock:
            if turn is not self._turn:  # replaced or given up, and cancelled too late
                return
            self._is_running = True
            limit = next(self._numbers)  # what comes from here on is for a later turn
            left = self._begin_turn()
        broke_off = True
        try:
            while left > 0 and (work := self._next(limit)) is not None:
                left -= 1
                work.run()
            broke_off = False
        finally:  # an action that raises is the inner scheduler's to report; the rest runs all the same
            with self._lock:
                self._turn, self._is_running = None, False
                plan = self._plan(at_once=broke_off and left > 0)
            self._start(plan)

    def _next(self, limit: int) -> Work | None:
        """Take what is first in the queue, if it came before `limit`."""
        with self._lock:
            for work, number in self._queue.items():
                if number > limit:
                    return None
                del self._queue[work]
                self._depth_changed()
                return work
        return None
