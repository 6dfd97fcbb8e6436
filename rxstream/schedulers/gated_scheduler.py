"""A gate for any scheduler.

A stage that queues adds its gate to the scheduler that it was subscribed with, and
passes the two upstream as one. On asyncio, and where no scheduler was named, that is
a `FlowScheduler`; anything else, virtual time above all, stays what it is inside a
`GatedScheduler`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias, TypeVar

from reactivex import abc, typing
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.scheduler.periodicscheduler import PeriodicScheduler

from rxstream.errors import ConfigurationError
from rxstream.flow import Gate
from rxstream.flow.gated_queue import CHOICES
from rxstream.schedulers.flow_scheduler import FlowScheduler
from rxstream.schedulers.loops import loop_for

S = TypeVar("S")


class GatedScheduler(PeriodicScheduler):
    """`inner`, carrying a gate."""

    def __init__(self, inner: abc.SchedulerBase, gate: Gate) -> None:
        super().__init__()
        self.inner = inner
        self.gate = gate
        self.has_scheduled = False
        """Whether anything was scheduled here: a source may then still be on its way to the gate."""

    @property
    def now(self) -> datetime:
        return self.inner.now

    def schedule(self, action: typing.ScheduledAction[S], state: S | None = None) -> abc.DisposableBase:
        self.has_scheduled = True
        return self.inner.schedule(self._as_ours(action), state)

    def schedule_relative(
        self, duetime: typing.RelativeTime, action: typing.ScheduledAction[S], state: S | None = None
    ) -> abc.DisposableBase:
        self.has_scheduled = True
        return self.inner.schedule_relative(duetime, self._as_ours(action), state)

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[S], state: S | None = None
    ) -> abc.DisposableBase:
        self.has_scheduled = True
        return self.inner.schedule_absolute(duetime, self._as_ours(action), state)

    def _as_ours(self, action: typing.ScheduledAction[S]) -> typing.ScheduledAction[S]:
        """Return `action`, to be given this scheduler: what it subscribes to is to find the gate."""
        return lambda _, state=None: action(self, state)


GateCarrier: TypeAlias = FlowScheduler | GatedScheduler
"""What a stage that queues passes upstream."""


def gated(scheduler: abc.SchedulerBase | None, gate: Gate) -> GateCarrier:
    """Return `scheduler` with `gate` instead of its own; `None` stands for the loop of the subscription."""
    if scheduler is None or isinstance(scheduler, AsyncIOScheduler):
        return FlowScheduler(loop_for(scheduler), gate)
    return GatedScheduler(scheduler.inner if isinstance(scheduler, GatedScheduler) else scheduler, gate)


def on_time(scheduler: abc.SchedulerBase | None) -> abc.SchedulerBase:
    """Return the scheduler for the timers of a subscription with `scheduler`, safe to use from any thread."""
    if scheduler is None or (isinstance(scheduler, AsyncIOScheduler) and not isinstance(scheduler, FlowScheduler)):
        return FlowScheduler(loop_for(scheduler))
    return scheduler


def clock_of(scheduler: abc.SchedulerBase) -> Callable[[], float]:
    """Return what gives the seconds of `scheduler`: of its loop where it has one, else of its `now`."""
    if isinstance(scheduler, FlowScheduler):
        return scheduler.loop.time
    return lambda: scheduler.now.timestamp()  # noqa: PLW0108  # `now` is to be read anew each time


def require_gate(carrier: GateCarrier) -> None:
    """Raise `ConfigurationError` if the source just subscribed to with `carrier` cannot wait.

    One that scheduled something may still come to the gate, so what it leaves
    waiting is looked at as it comes.
    """
    if not carrier.gate.is_honoured and not carrier.has_scheduled:
        raise ConfigurationError(f"this source cannot wait for a slow consumer: {CHOICES}")
