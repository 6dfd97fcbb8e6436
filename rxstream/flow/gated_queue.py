"""A bounded queue between two threads, whose filling closes a gate and whose emptying opens it.

The one place where a queue and demand meet: every stage that queues has one. The
gate is closed and let go of while the lock is held, since outside of it a late
"close" could come after the "open" that it should have come before, and nobody would
ever wake up. Whoever waits is told outside of it.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from rxstream.errors import BufferOverflowError, ConfigurationError
from rxstream.flow.bounded_queue import BoundedQueue
from rxstream.flow.gate import Account, Gate, call_each
from rxstream.flow.overflow import Overflow

T = TypeVar("T")

CHOICES = (
    "let it come from a source that can (rxstream's own; from_async_iterable for what you have), "
    "or put buffered() with another overflow before this: CONFLATE keeps all text, ERROR fails when it is full, "
    "DROP_OLDEST, DROP_NEWEST and LATEST lose items and are for metrics and snapshots"
)
"""What to do about a source that cannot wait."""


OTHER_BYTES = 100
"""What an item without text is taken to hold; a struct of a few fields does."""


def held_bytes(item: object) -> int:
    """Return about how many bytes `item` holds: what grows is its text, one byte a character or so.

    A list, such as a frame, holds what is in it, and so much for each as the item
    itself is, since the list counts as one item only.
    """
    text = getattr(item, "text", None) or getattr(item, "arguments", None)  # the usual item first
    if isinstance(text, str):
        return len(text)
    if isinstance(item, str | bytes):
        return len(item)
    if isinstance(item, list):
        items = cast(list[object], item)
        return sum(map(held_bytes, items)) + OTHER_BYTES * len(items)
    return OTHER_BYTES


class GatedQueue(Generic[T]):
    """`queue` behind a lock, with the gate that holds back whoever fills it.

    A source that has not said that it waits at the gate may leave at most
    `tolerance` items waiting (by default the queue's capacity).
    """

    def __init__(
        self,
        queue: BoundedQueue[T],
        gate: Gate,
        *,
        tolerance: int = 0,
        on_drop: Callable[[T], object] | None = None,
    ) -> None:
        self.queue = queue
        self.gate = gate
        self.waiting = queue.waiting
        """What waits, to see whether anything does."""
        # Reentrant, because the collector may end an abandoned consumer in the middle of anything.
        self._lock = threading.RLock()
        self._tolerance = tolerance
        self._on_drop = on_drop
        self._marks = queue.marks
        self._pauses = queue.overflow.pauses
        self._holds = False
        self._is_closed = False
        self._account: Account | None = None  # what is counted is counted there
        self._counted = 0  # bytes
        self._counted_items = 0

    def put(self, item: T) -> None:
        """Take `item` in, or drop what the queue says, and close the gate if that fills it.

        Raises `BufferOverflowError` where the queue refuses, `ConfigurationError`
        where it grows although it should make its source wait, and what `weigh` and
        `on_drop` raise.
        """
        with self._lock:
            if self._is_closed:
                return
            dropped = self.queue.offer(item)
            if self.gate.account is not None:
                self._count(held_bytes(item) - (sum(map(held_bytes, dropped)) if dropped else 0))
            if self._pauses and self._marks.paused:
                if not self._holds:
                    self._holds = True
                    self.gate.close(self)
                if not self.gate.is_honoured:
                    self._check_growth()
        if dropped and self._on_drop is not None:
            for gone in dropped:
                self._on_drop(gone)

    def take(self) -> T:
        """Take out the next item, and open the gate once enough has gone; raise `IndexError` if nothing waits."""
        with self._lock:
            item = self.queue.take()
            if self._counted_items:
                self._count(-held_bytes(item))
            if not self._holds or self._marks.paused:
                return item
            listeners = self._let_go()
        call_each(listeners)
        return item

    def take_some(self, limit: int) -> list[T]:
        """Take out the next items, at most `limit`; cheaper than one by one."""
        with self._lock:
            items = [self.queue.take() for _ in range(min(limit, len(self.waiting)))]
            if self._counted_items:
                self._count(-sum(map(held_bytes, items)))
            if not self._holds or self._marks.paused:
                return items
            listeners = self._let_go()
        call_each(listeners)
        return items

    def close(self) -> None:
        """Forget what waits, let go of the gate, and take nothing more."""
        with self._lock:
            self._is_closed = True
            self.queue.clear()
            self._count(-self._counted)
            listeners = self._let_go()
        call_each(listeners)

    def _count(self, size: int) -> None:
        """Bring what is counted with the source's controller up to what waits, which has `size` more bytes."""
        if self._account is not self.gate.account:
            self._change_account()
        account = self._account
        if account is None:
            return
        waiting = len(self.waiting)
        # What was here before there was a controller was never counted, and what was joined may weigh less.
        if not waiting or size < -self._counted:
            size = -self._counted
        items = waiting - self._counted_items
        self._counted_items = waiting
        self._counted += size
        if items >= 0 and size >= 0:
            account.add(items, size)
        elif items <= 0 and size <= 0:
            account.release(-items, -size)
        else:
            account.add(max(items, 0), max(size, 0))
            account.release(max(-items, 0), max(-size, 0))

    def _change_account(self) -> None:
        """Move what is counted to the account of the source that came last; with `concat` they come one by one."""
        counted = self._counted_items, self._counted
        if self._account is not None:
            self._account.release(*counted)
        self._account = self.gate.account
        if self._account is not None:
            self._account.add(*counted)

    def _let_go(self) -> list[Callable[[], None]]:
        """Open the gate, as far as it is up to this queue; return who is to be told."""
        self._holds = False
        return self.gate.let_go(self)

    def _check_growth(self) -> None:
        queue = self.queue
        if queue.depth <= queue.capacity or len(queue) <= self._tolerance:
            return
        if queue.overflow is Overflow.PAUSE:
            raise ConfigurationError(f"more than {queue.capacity} waits, and this source cannot: {CHOICES}")
        raise BufferOverflowError(
            f"more than {queue.capacity} waits that cannot be joined, and this source cannot wait"
        )
