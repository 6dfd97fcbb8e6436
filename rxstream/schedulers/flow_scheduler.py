"""The scheduler on which demand travels upstream.

Plain Rx has no backpressure, but every operator passes the `scheduler` of
`subscribe` to its source. A stage that queues subscribes upstream with a
`FlowScheduler`; the source finds its gate there and waits while it is closed.
Stock time-based operators that meet it run their timers on its loop.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from reactivex import abc, typing
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxstream.flow import Gate

S = TypeVar("S")


class FlowScheduler(AsyncIOScheduler):
    """An asyncio scheduler that carries a gate, safe to use from any thread.

    `parent` is the scheduler that the stage itself was subscribed with: its gate,
    if it has one, holds the source too.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, gate: Gate | None = None, *, parent: abc.SchedulerBase | None = None
    ) -> None:
        super().__init__(loop)
        self.loop = loop
        self.gate = gate or Gate(gate_of(parent))
        self.has_scheduled = False
        """Whether anything was scheduled here: a source may then still be on its way to the gate."""

    def schedule(self, action: typing.ScheduledAction[S], state: S | None = None) -> abc.DisposableBase:
        self.has_scheduled = True
        if running_loop() is self.loop:
            return super().schedule(action, state)
        return self._from_elsewhere(lambda: super(FlowScheduler, self).schedule(action, state))

    def schedule_relative(
        self, duetime: typing.RelativeTime, action: typing.ScheduledAction[S], state: S | None = None
    ) -> abc.DisposableBase:
        self.has_scheduled = True
        if running_loop() is self.loop:
            return super().schedule_relative(duetime, action, state)
        return self._from_elsewhere(lambda: super(FlowScheduler, self).schedule_relative(duetime, action, state))

    def _from_elsewhere(self, plan: Callable[[], abc.DisposableBase]) -> abc.DisposableBase:
        """Let the loop itself do what `plan` does, and wait for nothing: disposing doesn't either.

        Rx's own thread-safe scheduler makes whoever disposes wait for the loop, and so can stop another one.
        """
        planned = SingleAssignmentDisposable()

        def begin() -> None:
            if not planned.is_disposed:
                planned.disposable = plan()

        self.loop.call_soon_threadsafe(begin)
        return planned


def gate_of(scheduler: abc.SchedulerBase | None) -> Gate | None:
    """Return the gate that `scheduler` carries, or `None`: schedulers that queue carry one too."""
    gate = getattr(scheduler, "gate", None)
    return gate if isinstance(gate, Gate) else None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, or `None`."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # asyncio's way to say that there is none
        return None
