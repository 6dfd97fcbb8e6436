"""A bounded queue between a source and an observer, with demand on both sides of it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast, get_args

from reactivex import Observable, abc

from rxstream.errors import ConfigurationError
from rxstream.flow import BoundedQueue, Gate, GatedQueue, Overflow
from rxstream.operators._courier import Courier
from rxstream.rx import lift
from rxstream.schedulers import gate_of
from rxstream.schedulers.gated_scheduler import gated, on_time, require_gate
from rxstream.tokens import RawEvent, StreamToken, UsageReport, merge_deltas

T = TypeVar("T")

Pace = Callable[[T, float], float]
"""Lets an item go at a time in seconds and returns 0, or returns the seconds until it may."""


class Relay(Courier[T]):
    """Hands each item straight on while nobody waits, and holds it in `queue` otherwise."""

    def __init__(
        self,
        observer: abc.ObserverBase[T],
        scheduler: abc.SchedulerBase,
        queue: GatedQueue[T],
        *,
        demand: Gate | None = None,
        hands_over: bool = False,
        pace: Pace[T] | None = None,
        is_guarded: bool = False,
    ) -> None:
        super().__init__(observer, scheduler, queue.waiting, demand=demand, hands_over=hands_over)
        if is_guarded:  # whoever brings the items has others to bring them to
            self._emit = self._emit_guarded
        self._queue = queue
        self._pace = pace

    def receiver(self) -> Callable[[T], None]:
        """Return what is to be called with each item: `on_next`, and quicker where nothing has to wait."""
        if self._hands_over:
            return self.on_next
        take_charge, give_up_charge = self._charge.acquire, self._charge.release
        may_go = None if self._demand is None and self._pace is None else self._may_go
        emit, waiting, slowly = self._emit, self._waiting, self.on_next

        def on_next(item: T) -> None:
            if not take_charge(False):
                slowly(item)
                return
            # In charge, so nothing waits: whoever leaves something behind stays in charge.
            try:
                if may_go is None or may_go(item):
                    emit(item)
                else:
                    self._keep(item)
            finally:
                give_up_charge()
            if waiting or self.is_ended:
                self._look()

        return on_next

    def _may_go(self, item: T) -> bool:
        """Whether `item`, before which nothing waits, may go now."""
        if self._demand is not None and not self._demand.is_open:
            return False
        try:
            return self._pace is None or self._pace(item, self._now()) <= 0
        except Exception as error:
            self.fail(error)
            return False

    def _emit_guarded(self, item: T) -> None:
        try:
            self._observer.on_next(item)
        except Exception as error:
            self._give_up(error)

    def hold(self, items: Iterable[T]) -> None:
        """Begin with `items`, of a time before this subscription; nothing goes before `release`."""
        self._charge.acquire()
        for item in items:
            self._keep(item)

    def release(self) -> None:
        """Let go what `hold` took."""
        self._go()

    def _put(self, item: T) -> None:
        self._queue.put(item)

    def _forget(self) -> None:
        self._queue.close()

    def _wait(self) -> float:
        if self._pace is None:
            return 0.0
        try:
            head = self._queue.waiting[0]
        except IndexError:  # disposed of by another thread
            return 0.0
        return self._pace(head, self._now())

    def _deliver_next(self) -> None:
        try:
            item = self._queue.take()
        except IndexError:
            return
        self._emit(item)


def relayed(
    source: Observable[T],
    make_queue: Callable[[], BoundedQueue[T]],
    *,
    on: abc.SchedulerBase | None = None,
    on_drop: Callable[[T], object] | None = None,
    make_pace: Callable[[], Pace[T]] | None = None,
    tolerance: int = 0,
) -> Observable[T]:
    """Return `source` behind a queue of its own for each subscription.

    Its gate is the queue's alone: whether the consumer downstream wants more decides
    what leaves the queue, and only the queue decides whether the source goes on.
    `on` is the scheduler to deliver on, instead of wherever items come from.
    """

    def subscribe(observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        demand = gate_of(scheduler)
        carrier = gated(scheduler, Gate(downstream=demand))
        if demand is not None:
            demand.honour()
        queue = make_queue()
        relay = Relay(
            observer,
            carrier if on is None else on_time(on),
            GatedQueue(queue, carrier.gate, tolerance=tolerance, on_drop=on_drop),
            demand=demand,
            hands_over=on is not None,
            pace=make_pace and make_pace(),
        )
        relay.source.disposable = keeping_deltas(source, queue.overflow).subscribe(
            relay.receiver(), relay.on_error, relay.on_completed, scheduler=carrier
        )
        if queue.overflow is Overflow.PAUSE and not relay.is_ended:
            try:
                require_gate(carrier)
            except ConfigurationError:
                relay.dispose()
                raise
        return relay.disposable()

    return Observable(subscribe)


def keeping_deltas(source: Observable[T], overflow: Overflow) -> Observable[T]:
    """Return `source`, ended by `ConfigurationError` at the first token if `overflow` might drop it.

    Reports of usage may be dropped: the next one replaces them anyway.
    """
    return source.pipe(lift(lambda: _NoDeltas(overflow))) if overflow.drops else source


_KEPT = tuple(set(get_args(StreamToken)) - {UsageReport, RawEvent})


class _NoDeltas:
    def __init__(self, overflow: Overflow) -> None:
        self._overflow = overflow

    def feed(self, item: Any) -> list[Any]:
        if isinstance(_first(item), _KEPT):
            raise ConfigurationError(
                f"{self._overflow.name} would drop tokens of the answer: it is for metrics and snapshots; "
                "CONFLATE keeps all text and lets a late reader catch up"
            )
        return [item]

    def flush(self) -> list[Any]:
        return []


def _first(item: object) -> object:
    """The first item of a frame, or `item` itself."""
    if not isinstance(item, list):
        return item
    frame = cast(list[object], item)
    return frame[0] if frame else None


def joined(items: Sequence[Any]) -> list[Any]:
    """Join what `CONFLATE` may: neighbouring deltas of one block, and plain text."""
    if all(isinstance(item, str) for item in items):
        return ["".join(items)]
    return merge_deltas(items)


def queues(
    capacity: int, low: int | None, overflow: Overflow, weigh: Callable[[T], int] | None
) -> Callable[[], BoundedQueue[T]]:
    """Return what makes the queue of each subscription; raises `ValueError` for what can't be one."""

    def make() -> BoundedQueue[T]:
        return BoundedQueue(capacity, low=low, overflow=overflow, weigh=weigh, join=joined)

    make()
    return make
