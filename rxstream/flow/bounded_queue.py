"""A queue that decides, by its `Overflow`, what is kept when it is full. Nothing in it waits.

    items in = items out + dropped + joined + waiting

holds after every step: an item that was joined to the one before it counts as
`joined`, and what they became counts once.

The capacity is a line, not a wall, where the source can be made to wait: then
nothing is refused, and `marks.paused` says that it should wait. It is a wall for `ERROR`
and where items are dropped; but a single item larger than the whole capacity is
taken when nothing else waits, since it could never come through otherwise.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from rxstream.errors import BufferOverflowError
from rxstream.flow.overflow import Overflow
from rxstream.flow.watermarks import Watermarks

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """First in, first out, at most about `capacity`.

    `capacity` and `low` (75 % by default) count items, or what `weigh` says of each,
    such as bytes. `join` turns neighbours that `CONFLATE` may put together into
    fewer; it is given two or more and returns one item if they all fit. Raises
    `ValueError` for marks that make no sense.
    """

    def __init__(
        self,
        capacity: int,
        *,
        low: int | None = None,
        overflow: Overflow = Overflow.PAUSE,
        weigh: Callable[[T], int] | None = None,
        join: Callable[[Sequence[T]], Sequence[T]] | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"the capacity must be at least 1, not {capacity}")
        self.capacity, self.overflow = capacity, overflow
        self.marks = Watermarks(high=capacity, low=capacity * 3 // 4 if low is None else low)
        self.waiting: deque[Any] = deque()
        """What waits: to look at, not to touch. With `CONFLATE`, runs of neighbours."""
        self.dropped = 0
        """How many items were thrown away."""
        self.joined = 0
        """How many items went into the one before them."""
        self._weigh = weigh
        self._join = join if overflow is Overflow.CONFLATE else None
        self._weights: deque[int] = deque()  # beside `waiting`; empty where every item weighs 1
        self._is_plain = overflow is Overflow.PAUSE and weigh is None

    def __len__(self) -> int:
        return len(self.waiting)

    @property
    def depth(self) -> int:
        """How much waits: items, or their weight."""
        return self.marks.depth

    @property
    def peak(self) -> int:
        """The most that ever waited at once."""
        return self.marks.peak

    def offer(self, item: T) -> Sequence[T]:
        """Take `item` in and return what was dropped for it, or of it: usually nothing.

        Raises `BufferOverflowError` if it is refused, and what `weigh` raises.
        """
        if self._is_plain:  # the usual case, straight
            self.marks.add()
            self.waiting.append(item)
            return ()
        weight = 1 if self._weigh is None else self._weigh(item)
        dropped: Sequence[T] = ()
        match self.overflow:
            case Overflow.PAUSE:
                self._append(item, weight)
            case Overflow.CONFLATE:
                self._append_or_join(item, weight)
            case Overflow.ERROR:
                if not self._has_room(weight):
                    raise BufferOverflowError(f"the buffer is full: {self.depth} of {self.capacity} waits")
                self._append(item, weight)
            case Overflow.DROP_NEWEST:
                if self._has_room(weight):
                    self._append(item, weight)
                else:
                    dropped = (item,)
            case Overflow.DROP_OLDEST:
                dropped = self._take_while(lambda: not self._has_room(weight))
                self._append(item, weight)
            case Overflow.LATEST:
                dropped = self._take_while(lambda: True)
                self._append(item, weight)
        self.dropped += len(dropped)
        return dropped

    def take(self) -> T:
        """Take out what has waited longest; raise `IndexError` if nothing waits."""
        item = self.waiting.popleft()
        if self._is_plain:
            self.marks.remove()
            return item
        self.marks.remove(self._weights.popleft() if self._weigh is not None else 1)
        if self._join is None:
            return item
        return item[0] if len(item) == 1 else self._join(item)[0]

    def clear(self) -> None:
        """Forget what waits."""
        self.waiting.clear()
        self._weights.clear()
        self.marks.remove(self.marks.depth)

    def _append(self, item: Any, weight: int) -> None:
        self.marks.add(weight)
        self.waiting.append(item)
        if self._weigh is not None:
            self._weights.append(weight)

    def _append_or_join(self, item: T, weight: int) -> None:
        if self._join is None:
            self._append(item, weight)
        elif self.waiting and len(self._join((self.waiting[-1][-1], item))) == 1:
            self.waiting[-1].append(item)  # joined when it is taken: to do it now would cost the square of the text
            self.joined += 1
            if self._weigh is not None:
                self.marks.add(weight)
                self._weights[-1] += weight
        else:
            self._append([item], weight)

    def _take_while(self, must_drop: Callable[[], bool]) -> list[T]:
        taken: list[T] = []
        while self.waiting and must_drop():
            taken.append(self.take())
        return taken

    def _has_room(self, weight: int) -> bool:
        return self.marks.depth + weight <= self.capacity or not self.waiting
