"""Sinks that are broken on purpose, each in one way, and the one that they were before.

`Taking` is healthy and as small as can be; each class under it breaks one thing.
`BROKEN` says which law has to notice.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar
from weakref import WeakSet

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable

from rxstream.errors import ConfigurationError
from rxstream.flow import Gate
from rxstream.schedulers import FlowScheduler
from tests.contract import sink_laws as laws
from tests.contract.lawbook import Law
from tests.contract.subjects import Hear, Sink


class Taking:
    """One use of a sink: a bounded queue that a task empties."""

    CAPACITY = 4

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.gate = Gate()
        self.scheduler: abc.SchedulerBase | None = FlowScheduler(self.loop, self.gate)
        self.waiting: deque[Any] = deque()
        self.news = asyncio.Event()
        self.subscription = SingleAssignmentDisposable()
        self.is_ended = False
        self.error: Exception | None = None

    def subscribe_to(self, source: Observable[Any]) -> None:
        self.subscription.disposable = source.subscribe(
            self.on_next, self.on_error, self.on_completed, scheduler=self.scheduler
        )
        if not self.gate.is_honoured and not self.is_ended:
            raise ConfigurationError("this source cannot wait")

    def on_next(self, item: Any) -> None:
        self.waiting.append(item)
        if len(self.waiting) >= self.CAPACITY:
            self.gate.close(self)
        self.wake()

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.on_completed()

    def on_completed(self) -> None:
        self.is_ended = True
        self.wake()

    def wake(self) -> None:
        self.loop.call_soon_threadsafe(self.news.set)

    async def drain(self, source: Observable[Any], hear: Hear) -> None:
        try:
            self.subscribe_to(source)
            while self.waiting or not self.is_ended:
                await self.take(hear)
            if self.error is not None:
                raise self.error
        finally:
            self.close()

    async def take(self, hear: Hear) -> None:
        """Hand out what waits, or wait until something does."""
        while self.waiting:
            item = self.waiting.popleft()
            if len(self.waiting) < self.CAPACITY:
                self.gate.open(self)
            await hear(item)
        self.news.clear()
        if not self.waiting and not self.is_ended:
            await self.news.wait()

    def close(self) -> None:
        self.subscription.dispose()
        self.gate.open(self)
        self.waiting.clear()
        self.error = None


def sink_of(kind: Callable[[], Taking]) -> Sink:
    """Return the sink that is used as `kind` does."""

    async def drain(source: Observable[Any], hear: Hear) -> None:
        await kind().drain(source, hear)

    return Sink(drain, ahead=Taking.CAPACITY)


class Stuttering(Taking):
    """Repeats the tenth item."""

    def on_next(self, item: Any) -> None:
        super().on_next(item)
        if item.number == 10:
            super().on_next(item)


class Backwards(Taking):
    """Takes what came last first."""

    async def take(self, hear: Hear) -> None:
        if len(self.waiting) > 2:
            self.waiting.reverse()
        await super().take(hear)


class Leaky(Taking):
    """Drops in silence what goes beyond the capacity."""

    def on_next(self, item: Any) -> None:
        if len(self.waiting) <= self.CAPACITY:
            super().on_next(item)


class OnlyOnce(Taking):
    """Leaves out the first item of a source that was used before."""

    used: ClassVar[WeakSet[Observable[Any]]] = WeakSet()

    async def drain(self, source: Observable[Any], hear: Hear) -> None:
        self.is_first = source not in self.used
        self.used.add(source)
        await super().drain(source, hear)

    def on_next(self, item: Any) -> None:
        if item.number or self.is_first:
            super().on_next(item)


class Alone(Taking):
    """Tells the source neither of its loop nor of its gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate.honour()
        self.scheduler = None


class Unbounded(Taking):
    """Never closes the gate."""

    CAPACITY = 1_000_000


class Trusting(Taking):
    """Takes a source that cannot wait, and grows."""

    def __init__(self) -> None:
        super().__init__()
        self.gate.honour()


class Sleepy(Taking):
    """Opens the gate only if it was not even full."""

    async def take(self, hear: Hear) -> None:
        while self.waiting:
            await hear(self.waiting.popleft())
        await super().take(hear)


class OneThread(Taking):
    """Wakes up in a way that another thread must not use."""

    def wake(self) -> None:
        self.loop.call_soon(self.news.set)


class Hasty(Taking):
    """Forgets what waits when the source completes while the subscriber is busy."""

    is_busy = False

    async def drain(self, source: Observable[Any], hear: Hear) -> None:
        async def busy(item: Any) -> None:
            self.is_busy = True
            await hear(item)
            self.is_busy = False

        await super().drain(source, busy)

    def on_completed(self) -> None:
        if self.is_busy and self.error is None:
            self.waiting.clear()
        super().on_completed()


class Late(Taking):
    """Is not ready for a source that is done before `subscribe` returns."""

    is_ready = False

    def subscribe_to(self, source: Observable[Any]) -> None:
        super().subscribe_to(source)
        self.is_ready = True

    def on_completed(self) -> None:
        if self.is_ready:
            super().on_completed()


class Swallowing(Taking):
    """Makes a completion of an error."""

    def on_error(self, error: Exception) -> None:
        self.on_completed()


class Holding(Taking):
    """Leaves the source as it is."""

    def close(self) -> None:
        self.gate.open(self)
        self.waiting.clear()
        self.error = None


class Clinging(Taking):
    """Leaves the gate closed behind itself."""

    def close(self) -> None:
        self.subscription.dispose()
        self.waiting.clear()
        self.error = None


class SinceTheEpoch(Taking):
    """Thinks that the clock of a loop began at 0, and leaves out what seems to come late."""

    def on_next(self, item: Any) -> None:
        if self.loop.time() < 1_000:
            super().on_next(item)


class LeftTask(Taking):
    """Leaves a task behind."""

    def __init__(self) -> None:
        super().__init__()
        self.task = asyncio.ensure_future(asyncio.sleep(3_600))


BROKEN: dict[Callable[[], Taking], tuple[Law[Sink], ...]] = {
    Stuttering: (laws.everything_comes_once_and_in_order,),
    Backwards: (laws.what_had_to_wait_comes_in_order,),
    Leaky: (laws.the_accounts_add_up_after_every_step,),
    OnlyOnce: (laws.each_use_begins_anew,),
    Alone: (laws.the_source_hears_of_the_loop_and_of_demand,),
    Unbounded: (laws.the_source_does_not_run_ahead,),
    Trusting: (laws.growth_is_never_silent,),
    Sleepy: (
        laws.a_subscriber_that_takes_its_time_loses_no_wake_up,
        laws.a_hundred_thousand_items_at_once_cause_no_recursion,
        laws.a_source_in_another_thread_is_heard_to_the_end,
    ),
    OneThread: (laws.a_source_in_another_thread_is_heard_to_the_end,),
    Hasty: (laws.completion_comes_after_what_is_held,),
    Late: (laws.a_source_that_is_done_within_subscribe_is_heard,),
    Swallowing: (laws.an_error_is_raised,),
    Holding: (laws.a_subscriber_that_raises_lets_go_of_the_source, laws.to_cancel_it_reaches_the_source_at_once),
    Clinging: (laws.to_cancel_it_reaches_the_source_at_once,),
    LeftTask: (laws.nothing_is_left,),
    SinceTheEpoch: (laws.a_real_clock_changes_nothing,),
}
"""Which laws each of them breaks; where there are more, one and the same fault shows in all."""
