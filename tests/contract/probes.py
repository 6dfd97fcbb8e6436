"""Both ends of what is under test: what brings items, what hears them, and what is between the two."""

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable

from rxstream.errors import SubscriberError
from rxstream.flow import Gate
from rxstream.schedulers import FlowScheduler, gate_of
from rxstream.schedulers.gated_scheduler import clock_of
from tests.contract.subjects import Items, Stage

T = TypeVar("T")


class BoomError(Exception):
    """What goes wrong in these tests."""


class Spring:
    """A source that brings what it is told to, to everyone who is subscribed.

    It says that it waits at the gate, unless told not to; `Bench.bring` then does. As
    in every source of ours, what a subscriber raises comes back to it as an error.
    """

    def __init__(self, *, waits: bool = True) -> None:
        self.stream: Observable[Any] = Observable(self._subscribe)
        self.schedulers: list[abc.SchedulerBase | None] = []
        """What each subscription came with."""
        self.disposed = 0
        """How many subscriptions were disposed of, by the consumer or by the end of the stream."""
        self.is_pushing = False
        self.on_subscribe: Callable[[], object] = _nothing
        """What it does before a subscribe returns."""
        self._waits = waits
        self._observers: list[abc.ObserverBase[Any]] = []

    @property
    def gate(self) -> Gate | None:
        """The gate that the last subscription came with."""
        return gate_of(self.schedulers[-1])

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody is subscribed."""
        return bool(self._observers)

    def push(self, item: Any) -> None:
        self.is_pushing = True
        try:
            for observer in [*self._observers]:
                observer.on_next(item)
        except Exception as error:
            broken = SubscriberError(f"the subscriber raised {type(error).__name__}")
            broken.__cause__ = error
            self.fail(broken)
        finally:
            self.is_pushing = False

    def complete(self) -> None:
        for observer in self._all_observers():
            with suppress(ZeroDivisionError):  # a source has nobody left to tell that a subscriber raised in the end
                observer.on_completed()

    def fail(self, error: Exception) -> None:
        for observer in self._all_observers():
            with suppress(ZeroDivisionError):
                observer.on_error(error)

    def _all_observers(self) -> list[abc.ObserverBase[Any]]:
        """Whom to tell of the end, after which nothing can be brought any more, not even at their wish."""
        observers, self._observers = self._observers, []
        return observers

    def forget(self) -> None:
        """Let go of everybody, so that only what they themselves left behind keeps them."""
        self._observers.clear()
        self.schedulers.clear()

    def _subscribe(
        self, observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        self.schedulers.append(scheduler)
        if self._waits and self.gate is not None:
            self.gate.honour()
        self._observers.append(observer)

        def dispose() -> None:
            self.disposed += 1
            if observer in self._observers:
                self._observers.remove(observer)

        self.on_subscribe()
        return Disposable(dispose)


class Watch(abc.ObserverBase[Any]):
    """Hears a stream and holds it to the rules of signals.

    `note` says what to remember of each item: what is remembered is not let go.
    """

    def __init__(self, note: Callable[[Any], Any] = lambda item: item, *, clock: Callable[[], float]) -> None:
        self.heard: list[Any] = []
        self.heard_at: list[float] = []
        self.error: Exception | None = None
        self.is_completed = False
        self.after_the_end: list[str] = []
        """Signals that should not have come."""
        self.overlaps: list[str] = []
        """Signals that came while another one was being heard."""
        self.note = note
        self.react: Callable[[], object] = _nothing
        """What the subscriber's own code does with an item."""
        self.on_end: Callable[[], object] = _nothing
        """What it does when the stream has ended."""
        self.is_stopped = False
        self.subscription = SingleAssignmentDisposable()
        self._clock = clock
        self._hears = False

    @property
    def is_ended(self) -> bool:
        """Whether the stream has completed or failed."""
        return self.is_completed or self.error is not None

    @property
    def marbles(self) -> list[tuple[float, str]]:
        """What came when, and how it ended."""
        end = "completed" if self.is_completed else f"failed: {type(self.error).__name__}" if self.error else "goes on"
        what = [*(repr(item) for item in self.heard), end]
        return [(round(at, 4), item) for at, item in zip([*self.heard_at, -1], what, strict=True)]

    def subscribe(self, stream: Observable[Any], scheduler: abc.SchedulerBase, *, unguarded: bool = False) -> None:
        """Subscribe as people do, or without Rx's guard between."""
        if unguarded:
            Unguarded(stream).hear(self, scheduler)
        else:
            self.subscription.disposable = stream.subscribe(self, scheduler=scheduler)

    def on_next(self, value: Any) -> None:
        if not self._may_hear("an item"):
            return
        self._hears = True
        try:
            self.heard.append(self.note(value))
            self.heard_at.append(self._clock())
            self.react()
        finally:
            self._hears = False

    def on_error(self, error: Exception) -> None:
        if self._may_hear("an error"):
            self.error = error
            self._stop()

    def on_completed(self) -> None:
        if self._may_hear("a completion"):
            self.is_completed = True
            self._stop()

    def dispose(self) -> None:
        self.is_stopped = True
        self.subscription.dispose()

    def _may_hear(self, what: str) -> bool:
        if self._hears:
            self.overlaps.append(what)
        if self.is_ended:
            self.after_the_end.append(what)
        return not self.is_ended

    def _stop(self) -> None:
        """Dispose of a stream that has ended, as Rx's own guard does."""
        self.on_end()
        self.dispose()


class Unguarded(Observable[T]):
    """What a stage gives, without the guard that Rx puts around each observer, which hides what comes too late."""

    def __init__(self, guarded: Observable[T]) -> None:
        super().__init__()
        self._guarded = guarded

    def hear(self, watch: Watch, scheduler: abc.SchedulerBase) -> None:
        """Subscribe `watch` itself."""
        watch.subscription.disposable = self._guarded._subscribe_core(watch, scheduler)


class Supply:
    """A `Spring` and the items that it brings, numbered and counted."""

    def __init__(self, items: Items, spring: Spring) -> None:
        self.items = items
        self.spring = spring
        self.pushed = 0
        self._born: list[weakref.ref[Any]] = []

    @property
    def inputs(self) -> list[Any]:
        """All that was pushed, made anew."""
        return [self.items.make(number) for number in range(self.pushed)]

    @property
    def alive(self) -> int:
        """How many of the items that were pushed are still in memory."""
        return sum(born() is not None for born in self._born)

    def push(self, count: int = 1) -> None:
        """Bring the next `count` items, whatever the gate says."""
        for _ in range(count):
            self.pushed += 1
            self.spring.push(self._next_item())

    async def bring(self, count: int, *, chunk: int = 1) -> None:
        """Bring `count` more items as a source does that waits: a chunk whenever the gate is open."""
        goal = self.pushed + count
        while self.pushed < goal and self.spring.has_subscribers:
            if self.spring.gate is not None:
                await self.spring.gate.wait()
            self.push(min(chunk, goal - self.pushed))
            await asyncio.sleep(0)

    async def flood(self, count: int) -> None:
        """Bring `count` items without a pause, unless the gate says so."""
        item, gate, push = self.items.make(1), self.spring.gate, self.spring.push
        push(self.items.make(0))
        for _ in range(count - 1):
            if gate is not None and not gate.is_open:
                await gate.wait()
            push(item)

    def bring_from_this_thread(self, count: int, patience: float) -> None:
        """Bring `count` items, and a healthy end, from a thread that waits at the gate."""
        gate = self.spring.gate
        for _ in range(count):
            while gate is not None and not gate.is_open:
                may_go = threading.Event()
                stop = gate.when_open(may_go.set)
                has_waited = may_go.wait(patience)
                stop()
                if not has_waited:
                    return
            self.push()
        self.complete()

    def complete(self) -> None:
        for item in self.items.last:
            self.spring.push(item)
        self.spring.complete()

    def fail(self, error: Exception | None = None) -> None:
        self.spring.fail(error or BoomError())

    def _next_item(self) -> Any:
        item = self.items.make(self.pushed - 1)
        if self.items.are_counted:
            self._born.append(weakref.ref(item))
        return item


class Bench(Supply):
    """A stage between a `Spring` and a `Watch`, on the running loop or in virtual time."""

    def __init__(
        self,
        stage: Stage,
        *,
        wants: bool = True,
        waits: bool = True,
        spring: Spring | None = None,
        stream: Observable[Any] | None = None,
        scheduler: abc.SchedulerBase | None = None,
        demand: Gate | None = None,
    ) -> None:
        super().__init__(stage.items, spring or Spring(waits=waits))
        self.stage = stage
        self.dropped: list[Any] = []
        self.demand = demand or Gate()
        self.scheduler = scheduler or FlowScheduler(asyncio.get_running_loop(), self.demand)
        self.watch = Watch(stage.items.note, clock=clock_of(self.scheduler))
        self.stream = stream or self.spring.stream.pipe(stage.operator(_noting(self.dropped, stage)))
        self._name = object()  # not the bench: the gate would keep it
        if not wants:
            self.want_nothing()

    def subscribe(self, *, unguarded: bool = False) -> "Bench":
        """Subscribe the watch, as people do or without Rx's guard between."""
        self.watch.subscribe(self.stream, self.scheduler, unguarded=unguarded)
        return self

    @property
    def given(self) -> list[Any]:
        """What the watch heard, in the form in which loss and order show."""
        return self.items.read(self.watch.heard)

    @property
    def expected(self) -> list[Any]:
        """What should come of all that was pushed and a healthy end, in the same form."""
        return self.stage.expected(self.inputs)

    @property
    def held(self) -> int:
        """How many items should be inside: what came in and did not go out, be it once or twice."""
        return self.pushed - len(set(self.given)) - len(self.dropped)

    def want_nothing(self) -> None:
        self.demand.close(self._name)

    def want(self) -> None:
        self.demand.open(self._name)

    def stop_and_start(self) -> None:
        """Want nothing with each item that comes, and more again a turn of the loop later."""
        loop = asyncio.get_running_loop()

        def pause() -> None:
            self.want_nothing()
            loop.call_soon_threadsafe(self.want)

        self.watch.react = pause

    def dispose(self) -> None:
        self.watch.dispose()


def _noting(dropped: list[Any], stage: Stage) -> Callable[[Any], object]:
    """Remember what is dropped, but not the bench."""
    return lambda item: dropped.append(stage.items.note(item))


class Feed:
    """What a source reads: an async iterable of chunks that a test puts in, and that knows who still reads.

    Whoever iterates begins at the beginning.
    """

    def __init__(self) -> None:
        self.chunks: list[Any] = []
        self.readers = 0
        self._is_ended = self._is_broken = False
        self._news = asyncio.Event()

    def put(self, *chunks: Any) -> None:
        self.chunks += chunks
        self._news.set()

    def end(self) -> None:
        self._is_ended = True
        self._news.set()

    def fail(self) -> None:
        self._is_broken = True
        self._news.set()

    async def __aiter__(self) -> AsyncGenerator[Any]:
        async with aclosing(self.batches()) as batches:
            async for batch in batches:
                for chunk in batch:
                    yield chunk

    async def batches(self) -> AsyncGenerator[list[Any]]:
        """Give all that is there, each time that there is something."""
        position = 0
        self.readers += 1
        try:
            while True:
                while batch := self.chunks[position:]:
                    position += len(batch)
                    yield batch
                if self._is_broken:
                    raise BoomError
                if self._is_ended:
                    return
                self._news.clear()
                await self._news.wait()
        finally:
            self.readers -= 1


async def turns(count: int = 10) -> None:
    """Let everything that is ready run, but no time pass."""
    for _ in range(count):
        await asyncio.sleep(0)


async def settle() -> None:
    """Let everything happen that happens by itself; in virtual time only."""
    await turns()
    await asyncio.sleep(60)
    await turns()


def _nothing() -> None:
    """What a subscriber does that does nothing."""
