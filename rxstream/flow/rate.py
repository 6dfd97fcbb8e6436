"""A token bucket: so many permits a second, with some saved up for a burst.

The bucket holds at most `burst` permits and starts full. It counts from the last
moment at which it was too full: what came in since then is a product, what went out
a sum, so nothing is rounded twice and whole permits never drift, however long it
runs. Time is an argument, in seconds of any clock that does not run backwards.

What was granted within any `window` seconds, summed up, is at most
`burst + permits_per_second * window`; only a last request that is larger than the
burst may exceed that, by as much as it is larger.
"""

import math


class Rate:
    """Permits for tokens, characters, bytes or requests, at most so many a second.

    `burst` is how many may be saved up, by default those of one second and at least
    one. A request larger than the burst needs a full bucket and then goes into debt,
    which is paid back before the next one: the pace holds, and nothing waits for ever.
    Not for several threads at once.
    """

    __slots__ = ("_full_at", "_taken", "burst", "permits_per_second")

    def __init__(self, permits_per_second: float, *, burst: float | None = None) -> None:
        if not 0 < permits_per_second < math.inf:
            raise ValueError(f"permits per second must be more than 0, not {permits_per_second}")
        if burst is None:
            burst = max(1, permits_per_second)
        if not 0 < burst < math.inf:
            raise ValueError(f"the burst must be more than 0, not {burst}")
        self.permits_per_second = permits_per_second
        self.burst = burst
        self._full_at = -math.inf  # when the bucket was last more than full
        self._taken: float = 0  # since then

    def take(self, permits: float, now: float) -> float:
        """Take `permits` and return 0, or take none and return the seconds until they can be had.

        Asking again after exactly those seconds is granted. No permits are granted at once.
        """
        wait = self.wait_for(permits, now)
        if wait == 0:
            self._remove(permits, now)
        return wait

    def reserve(self, permits: float, now: float) -> float:
        """Take `permits` in any case, and return the seconds to wait before using them.

        For a queue: who comes later waits longer, and nobody has to ask again.
        """
        wait = self.wait_for(permits, now)
        self._remove(permits, now)
        return wait

    def wait_for(self, permits: float, now: float) -> float:
        """Return the seconds until `permits` can be had; take none."""
        if not 0 <= permits < math.inf:
            raise ValueError(f"permits cannot be negative or without end, as {permits} is")
        if permits == 0 or self._overflows(now):
            return 0
        needed = self._taken - self.burst + min(permits, self.burst)
        ready_at = self._full_at + needed / self.permits_per_second
        if now >= ready_at:
            return 0
        wait = ready_at - now
        if now + wait < ready_at:  # rounded down; asking again then would be a little early
            wait += math.ulp(max(wait, ready_at))
        return wait

    def available(self, now: float) -> float:
        """Return how many permits the bucket holds; less than 0 while it is in debt."""
        if self._overflows(now):
            return self.burst
        return self.burst - self._taken + (now - self._full_at) * self.permits_per_second

    def _remove(self, permits: float, now: float) -> None:
        if self._overflows(now):
            self._full_at, self._taken = now, 0
        self._taken += permits

    def _overflows(self, now: float) -> bool:
        """Whether permits came in that the bucket had no room for; just full it still counts from where it did."""
        return now > self._full_at + self._taken / self.permits_per_second
