"""A scheduler that runs actions together, so that the inner scheduler is woken once for many.

Rule of a batch: it runs `window` after the first action of it came, at once when
`count` wait, and holds at most `count`. What an action schedules meanwhile is for a
later batch.
"""

import math
from datetime import timedelta

from reactivex import abc

from rxstream.errors import BufferOverflowError
from rxstream.flow import Gate
from rxstream.schedulers.flow_scheduler import gate_of
from rxstream.schedulers.queueing_scheduler import AT_ONCE, QueueingScheduler


class BufferingScheduler(QueueingScheduler):
    """Actions run together on `inner`, window by window or `count` at a time, in order.

    Without a `window` nothing is held back: each turn of the inner scheduler runs at
    most `count` of what waits. With both, `count` cuts a window short.

    Its `gate` is closed from `capacity` waiting actions on until there are `low` (75 %
    by default). A capacity is a line, not a wall: a source that waits at the gate may
    still bring what it has in hand. But where nothing honours the gate, an action
    beyond the capacity is refused with `BufferOverflowError`. Actions with a due time
    count from when they are due, and are always taken.
    """

    def __init__(
        self,
        inner: abc.SchedulerBase,
        *,
        window: timedelta | None = None,
        count: int | None = None,
        capacity: int = 1024,
        low: int | None = None,
    ) -> None:
        super().__init__(inner)
        if window is None and count is None:
            raise ValueError("say how actions are put together: by a window, a count or both")
        if window is not None and window <= AT_ONCE:
            raise ValueError(f"the window must be more than 0, not {window}")
        if count is not None and count < 1:
            raise ValueError(f"the count must be at least 1, not {count}")
        if capacity < 1:
            raise ValueError(f"the capacity must be at least 1, not {capacity}")
        if low is None:
            low = capacity * 3 // 4
        if not 0 <= low < capacity:
            raise ValueError(f"the low mark must be at least 0 and below the capacity of {capacity}, not {low}")
        self._window = window or AT_ONCE
        self._count = count or math.inf
        self._capacity, self._low = capacity, low
        self._is_full = False
        self.gate = Gate(gate_of(inner))
        """Closed while the queue is full. A `FlowScheduler` with this one as its parent inherits it."""

    def _delay(self) -> timedelta:
        return self._window

    def _begin_turn(self) -> float:
        return self._count

    def _is_urgent(self) -> bool:
        return len(self._queue) >= self._count

    def _check_room(self) -> None:
        if len(self._queue) >= self._capacity and not self.gate.is_honoured:
            raise BufferOverflowError(f"{self._capacity} actions wait, and nothing that could pause schedules them")

    def _depth_changed(self) -> None:
        # While the lock is held: closing and opening must not overtake one another.
        depth = len(self._queue)
        if not self._is_full and depth >= self._capacity:
            self._is_full = True
            self.gate.close(self)
        elif self._is_full and depth <= self._low:
            self._is_full = False
            self.gate.open(self)
