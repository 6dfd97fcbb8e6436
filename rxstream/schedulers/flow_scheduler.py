"""The scheduler on which demand travels upstream.

Plain Rx has no backpressure, but every operator passes the `scheduler` of
`subscribe` to its source. A stage that queues subscribes upstream with a
`FlowScheduler`; the source finds its gate there and waits while it is closed.
Stock time-based operators that meet it run their timers on its loop.
"""

import asyncio
from typing import TypeVar

from reactivex import abc, typing
from reactivex.scheduler.eventloop import AsyncIOScheduler, AsyncIOThreadSafeScheduler

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
        self._from_elsewhere = AsyncIOThreadSafeScheduler(loop)

    def schedule(self, action: typing.ScheduledAction[S], state: S | None = None) -> abc.DisposableBase:
        self.has_scheduled = True
        if running_loop() is self.loop:
            return super().schedule(action, state)
        return self._from_elsewhere.schedule(action, state)

    def schedule_relative(
        self, duetime: typing.RelativeTime, action: typing.ScheduledAction[S], state: S | None = None
    ) -> abc.DisposableBase:
        self.has_scheduled = True
        if running_loop() is self.loop:
            return super().schedule_relative(duetime, action, state)
        return self._from_elsewhere.schedule_relative(duetime, action, state)


def gate_of(scheduler: abc.SchedulerBase | None) -> Gate | None:
    """Return the gate that `scheduler` carries, or `None`."""
    return scheduler.gate if isinstance(scheduler, FlowScheduler) else None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, or `None`."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # asyncio's way to say that there is none
        return None
