"""Across to another thread or a UI, within bounds."""

from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable, abc

from rxstream.flow import Overflow
from rxstream.operators._relay import queues, relayed

T = TypeVar("T")


def deliver_on(
    scheduler: abc.SchedulerBase,
    capacity: int = 1024,
    *,
    low: int | None = None,
    overflow: Overflow = Overflow.PAUSE,
    weigh: Callable[[T], int] | None = None,
    on_drop: Callable[[T], object] | None = None,
) -> Callable[[Observable[T]], Observable[T]]:
    """Deliver everything on `scheduler`: `observe_on`, but bounded, and many items a turn.

    One scheduled action delivers what waits, for about a millisecond, and plans the
    next if more does. At `capacity` the source is told to wait, and to go on at `low`;
    both happen from the thread of `scheduler` as it takes items. All else is as with
    `buffered`.
    """
    make_queue = queues(capacity, low, overflow, weigh)
    return lambda source: relayed(source, make_queue, on=scheduler, on_drop=on_drop)
