"""A rate over the last few seconds, in bounded memory.

Time is cut into slots, and all that is kept of a slot is what had been counted when
it began. The window is the last slots, the present one included, so it slides by
one slot at a time.
"""

import math
from collections import deque

SLOTS = 10
SLOT = 0.5
"""Seconds; the window is ten slots, of which the last has only begun: between 4.5 and 5 seconds."""


class RecentRate:
    """How many a second, of late; whoever counts says at `due` or later what it had counted until then."""

    __slots__ = ("_began", "_marks", "due")

    def __init__(self) -> None:
        self.due = -math.inf
        """When the next slot begins: from then on `mark` is to be called before anything is counted."""
        self._began: float | None = None
        self._marks: deque[tuple[int, int]] = deque(maxlen=SLOTS)  # slots in which anything came, and the count then

    def mark(self, count: int, at: float) -> None:
        """Take note that `count` had been counted before what comes at `at`."""
        if self._began is None:
            self._began = at
        slot = math.floor(at / SLOT)
        self._marks.append((slot, count))
        self.due = (slot + 1) * SLOT

    def per_second(self, count: int, at: float) -> float | None:
        """Return the rate at `at`, when `count` has been counted; `None` before there is a time to divide by."""
        if self._began is None:
            return None
        first = math.floor(at / SLOT) - SLOTS + 1
        seconds = at - max(first * SLOT, self._began)
        if seconds <= 0:
            return None
        before = next((marked for slot, marked in self._marks if slot >= first), count)
        return (count - before) / seconds
