"""A bounded queue in the middle of a stream."""

from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable

from rxstream.flow import Overflow
from rxstream.operators._relay import queues, relayed

T = TypeVar("T")


def buffered(
    capacity: int = 1024,
    *,
    low: int | None = None,
    overflow: Overflow = Overflow.PAUSE,
    weigh: Callable[[T], int] | None = None,
    on_drop: Callable[[T], object] | None = None,
) -> Callable[[Observable[T]], Observable[T]]:
    """Let the source run ahead of a slow consumer, by about `capacity` items and no more.

    The consumer is slow when the gate of the subscription's scheduler is closed: so
    say `iterate`, `map_async`, `rate_limit` and whatever else waits. While it is open
    and nothing is queued, each item goes straight through. What had to wait is
    delivered on the loop, in order, when the gate opens.

    At `capacity` (items, or what `weigh` says of each, such as bytes) the source is
    told to wait, and to go on at `low` (75 % by default); `overflow` names other ways
    to stay within bounds. `on_drop` hears of each item that is dropped.

    Completion comes after what is queued. An error waits for nothing: what is queued
    is delivered at once, then the error. `BufferOverflowError` ends the stream where
    the strategy is to fail. A source that cannot wait, under `PAUSE`, is a
    `ConfigurationError` when it is subscribed to; one such as `from_iterable`, which
    has scheduled something by then, once more than `capacity` would be queued. So is a
    token of an answer under a strategy that drops. Raises `ValueError` for marks that
    make no sense.
    """
    make_queue = queues(capacity, low, overflow, weigh)
    return lambda source: relayed(source, make_queue, on_drop=on_drop)
