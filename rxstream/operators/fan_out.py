"""One stream for several consumers, none of which can hurt the others."""

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable

from rxstream.errors import ConfigurationError
from rxstream.flow import BoundedQueue, Gate, GatedQueue, Overflow
from rxstream.operators._relay import Relay, keeping_deltas, queues
from rxstream.schedulers import gate_of
from rxstream.schedulers.gated_scheduler import gated, on_time, require_gate

T = TypeVar("T")


def fan_out(
    capacity: int = 1024,
    *,
    low: int | None = None,
    overflow: Overflow = Overflow.PAUSE,
    weigh: Callable[[T], int] | None = None,
    on_drop: Callable[[T], object] | None = None,
    replay: int = 0,
    consumers: int = 1,
) -> Callable[[Observable[T]], Observable[T]]:
    """Share one subscription to the source among all who subscribe to the result.

    Each consumer has a queue of its own, which fills while that consumer is slow.
    `overflow` is the policy: with `PAUSE` the source goes at the pace of the slowest;
    with any other it is not slowed by that queue, and who falls behind gets joined
    text (`CONFLATE`), an error of its own (`ERROR`) or gaps (the others). Both can be
    mixed: one consumer puts a `buffered` with another strategy behind the fan-out.
    The arguments up to `on_drop` are those of `buffered`.

    The source is subscribed to when so many `consumers` have come, and disposed of
    when the last one leaves; who comes later gets the last `replay` items first, and
    then what comes from there on. A run ends with the source or its last consumer;
    who subscribes after that begins a new one. One consumer's error, dispose or
    exception is its own: the others go on. Raises `ValueError` for numbers that make
    no sense.
    """
    if not 0 <= replay <= capacity:
        raise ValueError(f"what is replayed must fit into a queue: 0 to {capacity}, not {replay}")
    if consumers < 1:
        raise ValueError(f"the consumers to wait for must be at least 1, not {consumers}")
    make_queue = queues(capacity, low, overflow, weigh)

    def operator(source: Observable[T]) -> Observable[T]:
        hub = _Hub(keeping_deltas(source, overflow), make_queue, on_drop, replay, consumers)
        return Observable(hub.subscribe)

    return operator


class _Hub(Generic[T]):
    """Who subscribes when: the one state that subscriptions share."""

    def __init__(
        self,
        source: Observable[T],
        make_queue: Callable[[], BoundedQueue[T]],
        on_drop: Callable[[T], object] | None,
        replay: int,
        consumers: int,
    ) -> None:
        self.source = source
        self.make_queue = make_queue
        self.on_drop = on_drop
        self.replay = replay
        self.lock = threading.RLock()
        self.run: _Run[T] | None = None
        self._consumers = consumers

    def subscribe(
        self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        with self.lock:
            run = self.run = self.run or _Run(self)
            relay = run.join(observer, scheduler)
            is_time = not run.has_begun and len(run.relays) >= self._consumers
            run.has_begun = run.has_begun or is_time
        relay.release()
        if is_time:
            run.begin(scheduler)
        return relay.disposable()


class _Run(Generic[T]):
    """One subscription to the source, and those who share it."""

    def __init__(self, hub: _Hub[T]) -> None:
        self.relays: tuple[
            Relay[T], ...
        ] = ()  # replaced, never changed, so that it can be gone through without the lock
        self.has_begun = False
        self._hub = hub
        self._gate = Gate()
        self._receivers: tuple[Callable[[T], None], ...] = ()
        self._tail: deque[T] = deque(maxlen=hub.replay)
        self._source = SingleAssignmentDisposable()
        self._is_ended = False

    def join(self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None) -> Relay[T]:
        """Add a consumer; what it missed waits for it. The lock is held."""
        demand = gate_of(scheduler)
        if demand is not None:
            demand.honour()
        queue = GatedQueue(self._hub.make_queue(), self._gate, on_drop=self._hub.on_drop)
        relay = Relay(observer, on_time(scheduler), queue, demand=demand, is_guarded=True)
        relay.source.disposable = Disposable(partial(self._leave, relay))
        relay.hold(self._tail)
        if not relay.is_ended:  # what it missed may have been too much for it
            self._set_relays((*self.relays, relay))
        return relay

    def begin(self, scheduler: abc.SchedulerBase | None) -> None:
        """Subscribe to the source, unless everybody has left again."""
        if self._is_ended:
            return
        carrier = gated(scheduler, self._gate)
        self._source.disposable = self._hub.source.subscribe(
            self._on_next, self._on_error, self._on_completed, scheduler=carrier
        )
        if self._hub.make_queue().overflow is Overflow.PAUSE and not self._is_ended:
            try:
                require_gate(carrier)
            except ConfigurationError as error:
                self._source.dispose()
                self._on_error(error)

    def _on_next(self, item: T) -> None:
        if self._hub.replay:
            with self._hub.lock:  # who joins now gets it either from the tail or from here
                self._tail.append(item)
                receivers = self._receivers
        else:
            receivers = self._receivers
        for receive in receivers:
            receive(item)

    def _on_error(self, error: Exception) -> None:
        for relay in self._end():
            relay.on_error(error)

    def _on_completed(self) -> None:
        for relay in self._end():
            relay.on_completed()

    def _end(self) -> tuple[Relay[T], ...]:
        """Let nobody join any more; return who is to hear of the end."""
        with self._hub.lock:
            self._is_ended = True
            if self._hub.run is self:
                self._hub.run = None
            return self.relays

    def _leave(self, relay: Relay[T]) -> None:
        with self._hub.lock:
            self._set_relays(tuple(other for other in self.relays if other is not relay))
            is_last = not self.relays and not self._is_ended
        if is_last:
            self._end()
            self._source.dispose()

    def _set_relays(self, relays: tuple[Relay[T], ...]) -> None:
        self.relays = relays
        self._receivers = tuple(relay.receiver() for relay in relays)
