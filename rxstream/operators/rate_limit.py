"""No faster than so many permits a second, by making the source wait."""

from collections.abc import Callable
from typing import Generic, TypeVar

from reactivex import Observable

from rxstream.flow import BoundedQueue, Rate
from rxstream.operators._relay import relayed

T = TypeVar("T")

SPARE = 1024
"""How many items of a source that cannot wait, such as `from_iterable`, may."""


class RateLimiter(Generic[T]):
    """Decides which item may go when; time is an argument, in seconds.

    An item costs one permit, or what `weigh` says of it. `burst` permits may be saved
    up, by default those of one second. Raises `ValueError` for a rate or burst of 0
    or less.
    """

    def __init__(
        self, permits_per_second: float, *, burst: float | None = None, weigh: Callable[[T], float] | None = None
    ) -> None:
        self.rate = Rate(permits_per_second, burst=burst)
        self._weigh = weigh

    def admit(self, item: T, now: float) -> float:
        """Let `item` go and return 0, or return the seconds after which to ask again."""
        return self.rate.take(1 if self._weigh is None else self._weigh(item), now)


def rate_limit(
    permits_per_second: float, *, burst: float | None = None, weigh: Callable[[T], float] | None = None
) -> Callable[[Observable[T]], Observable[T]]:
    """Let items through at `permits_per_second`, and make the source wait for the rest.

    The arguments are those of `RateLimiter`; each subscription has a limiter of its
    own. While an item waits for its permits the gate is closed: nothing queues but
    what the source had in hand. Time is that of the subscription's scheduler.

    Completion comes after what waits, at the same pace; an error waits for nothing.
    A source that cannot wait is a `ConfigurationError`, at subscribe where that is
    known by then, else when more than 1,024 items wait. Raises `ValueError` for a
    rate or burst of 0 or less.
    """
    RateLimiter[T](permits_per_second, burst=burst, weigh=weigh)

    def make_pace() -> Callable[[T, float], float]:
        return RateLimiter(permits_per_second, burst=burst, weigh=weigh).admit

    return lambda source: relayed(source, lambda: BoundedQueue[T](1), make_pace=make_pace, tolerance=SPARE)
