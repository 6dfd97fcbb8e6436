"""The controller: one bound over the items and bytes that one stream, or many, hold in memory.

What is held is counted where it is put (`add`) and where a consumer takes it
(`release`). Whoever produces asks in one of two ways, and both may be used at once:

- At the **gate**. It closes when what is held reaches the high mark and opens at
  the low one; between two looks at it, nothing is refused. A mark is a line, not a
  wall: one chunk may hold many tokens.
- By a **permit**. It is waited for until what is held leaves room beneath the
  maximum; who came first is served first, and nobody overtakes.

Count only what a consumer can take without more input. A message that still lacks
its end is not to be counted: if everything held were of that kind, nothing would
ever be released.

Sharing
-------
Many streams may share a controller, each through a `StreamShare` of its own. What
they hold together closes their gates, with one exception: **a stream that holds
nothing is not held back**, since nobody else's consumer should decide whether it
may go on. So 100 streams can't lock each other up, not even when 99 consumers have
stopped for good: the last stream goes on, chunk by chunk. What all hold together
stays beneath the high mark and one chunk for each stream, and reads are small
while it is deep.

Permits know no such exception: for those who wait for them the maximum is a wall.
They can't lock each other up as long as what was permitted is consumed: the first in
line gets its turn if it asks for no more than lies between the high mark and the
maximum; more than that others at the gate may take away again and again. Whoever
waits for a second permit before it lets go of the first may wait for itself.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Self

from msgspec import Struct

from rxstream.flow.gate import Gate, call_each, wake
from rxstream.flow.read_size import LARGEST_READ, SMALLEST_READ, AdaptiveReadSize


class BackpressureConfig(Struct, frozen=True, kw_only=True):
    """How much may be held, and how much is read at a time. Raises `ValueError` for what can't be."""

    minimum_buffer: int = SMALLEST_READ
    """Bytes of the smallest read; at least 1 KiB."""
    maximum_buffer: int = LARGEST_READ
    """Bytes of the largest read; at most 64 KiB."""
    maximum_items: int = 4_096
    """Items held, in all streams together."""
    maximum_bytes: int = 1_048_576
    """Bytes held, in all streams together."""
    high_mark: float = 0.75
    """The part of either maximum at which the gate closes; the rest is for chunks that are on their way then."""
    low_mark: float = 0.5
    """The part of both maxima beneath which all has to be before it opens again."""
    target_seconds: float = 0.001
    """How long one chunk may take to process: for so long it holds up everything else on its loop."""

    def __post_init__(self) -> None:
        if not SMALLEST_READ <= self.minimum_buffer <= self.maximum_buffer <= LARGEST_READ:
            raise ValueError(
                f"the minimum buffer ({self.minimum_buffer}) and the maximum ({self.maximum_buffer}) "
                f"must lie between {SMALLEST_READ} and {LARGEST_READ} bytes, in that order"
            )
        if min(self.maximum_items, self.maximum_bytes) < 1:
            raise ValueError(f"maximum items ({self.maximum_items}) and bytes ({self.maximum_bytes}) must be positive")
        if not 0 <= self.low_mark < self.high_mark <= 1:
            raise ValueError(
                f"the low mark ({self.low_mark}) must lie from 0 to beneath the high mark ({self.high_mark}), "
                "and that at most at 1: they are parts of the maximum"
            )
        if not self.target_seconds > 0:
            raise ValueError(f"the target must be more than 0 seconds, not {self.target_seconds}")

    def marks(self, maximum: int) -> tuple[int, int]:
        """Return the high and the low mark for `maximum`, in whole items or bytes; at least one apart."""
        high = max(1, round(self.high_mark * maximum))
        return high, min(round(self.low_mark * maximum), high - 1)

    def read_sizes(self) -> AdaptiveReadSize:
        """Return what finds the read size of one stream."""
        return AdaptiveReadSize(
            minimum=self.minimum_buffer, maximum=self.maximum_buffer, target_seconds=self.target_seconds
        )


class BackpressureSnapshot(Struct, frozen=True, kw_only=True):
    """The figures of a controller, or of one stream's share, at one moment.

    Those that count items and bytes add up: a controller's are the sums of its
    streams', closed ones included, and of its own.
    """

    depth: int
    """Items held."""
    bytes_held: int
    peak_items: int
    """The most that was held at once."""
    peak_bytes: int
    items_in: int
    """All that was ever added."""
    bytes_in: int
    dropped: int
    """Items that were thrown away unread."""
    bytes_dropped: int
    is_paused: bool
    """Whether the gate is closed."""
    times_paused: int
    seconds_paused: float
    read_size: int
    """Bytes of the next read; of a controller, the largest that it or one of its streams may make."""
    streams: int
    """How many streams share it now."""
    waiting: int
    """How many wait for a permit."""

    @property
    def items_out(self) -> int:
        """Items that were released."""
        return self.items_in - self.depth - self.dropped

    @property
    def bytes_out(self) -> int:
        """Bytes that were released."""
        return self.bytes_in - self.bytes_held - self.bytes_dropped


class StreamShare:
    """One stream's share of a controller: made by `controller.stream()`, closed when the stream ends.

    What it counts, the controller counts too. It may be used from any thread. Once
    closed it counts nothing any more and holds nobody back, so that what a stream
    still had in hand when it was disposed of does no harm. One that nobody has any
    more is closed by that.
    """

    def __init__(self, pool: "_Pool") -> None:
        self._pool = pool
        self._lock = pool.lock
        self._account = pool.open_account()
        self.gate = self._account.gate
        """Closed while the controller is over its mark and this stream holds something."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    @property
    def read_size(self) -> int:
        """Bytes to ask for in the next read."""
        return self._account.sizes.size

    @property
    def largest_read(self) -> int:
        """Bytes that `read_size` will not go beyond."""
        return self._account.sizes.maximum

    @property
    def is_closed(self) -> bool:
        """Whether the stream is over: closed, or closing and nothing is held."""
        return self._account.is_over

    def note_read(self, bytes_read: int, seconds: float) -> int:
        """Learn from a read whose bytes took `seconds` to process; return the size of the next.

        For the one source that reads, not for several threads at once.
        """
        return self._account.sizes.note(bytes_read, seconds, self._pool.fullness)

    def add(self, items: int = 1, size: int = 0) -> None:
        """Count in `items` of `size` bytes in all, which are now held; never refuses."""
        with self._lock:
            self._pool.put(self._account, items, size)

    def release(self, items: int = 1, size: int = 0) -> None:
        """Count out what a consumer took. Raises `ValueError` for more than is held."""
        with self._lock:
            self._pool.take(self._account, items, size)
        if self._pool.to_tell:
            self._pool.tell()

    def drop(self, items: int = 1, size: int = 0) -> None:
        """Count out what was thrown away unread; what was never added is to be added first."""
        with self._lock:
            self._pool.drop(self._account, items, size)
        self._pool.tell()

    def try_acquire(self, items: int = 1, size: int = 0) -> bool:
        """Count in and return True if there is room beneath the maximum and nobody waits for it."""
        with self._lock:
            return self._pool.try_acquire(self._account, items, size)

    async def acquire(self, items: int = 1, size: int = 0) -> None:
        """Wait in line until there is room beneath the maximum, and count in.

        What is larger than the maximum goes when nothing else of its kind is held.
        """
        await self._pool.acquire(self._account, items, size)

    @asynccontextmanager
    async def permit(self, items: int = 1, size: int = 0) -> AsyncGenerator[None]:
        """Hold `items` of `size` bytes in all for the length of an `async with`; wait for room like `acquire`."""
        await self.acquire(items, size)
        try:
            yield
        finally:
            self.release(items, size)

    def close(self) -> None:
        """Release all that the stream holds and let go of whoever waits for it; a second time does nothing."""
        with self._lock:
            self._pool.close_account(self._account)
        self._pool.tell()

    def close_when_empty(self) -> None:
        """Close once nothing is held: the source has ended, but its consumer has not taken everything yet.

        What is on its way from one queue to the next counts again when it gets there,
        although for a moment nothing was held.
        """
        with self._lock:
            self._pool.let_end(self._account)

    def snapshot(self) -> BackpressureSnapshot:
        """Return the stream's figures."""
        account = self._account
        with self._lock:
            waiting = sum(waiter.account is account for waiter in tuple(self._pool.waiting))
            return self._pool.snapshot(
                account, read_size=account.sizes.size, streams=int(not account.is_over), waiting=waiting
            )


class StreamBackpressureController:
    """What bounds, and paces, all that is held in memory by one stream or by many.

    One stream may use it as it is; several use a `stream()` each. Everything is safe
    from any thread, so that a consumer may release where it consumes. `now` gives
    monotonic seconds; only the figures need it.
    """

    def __init__(self, config: BackpressureConfig | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        self.config = config or BackpressureConfig()
        self._pool = _Pool(self.config, now)
        self._own = StreamShare(self._pool)  # of what is counted here, and not on a stream
        self.gate = self._pool.total.gate
        """Closed from when what is held reaches a high mark until all is down at the low ones.

        For one stream. Where there are several, each waits at its share's own gate,
        which knows whether that stream is to blame.
        """

    def __repr__(self) -> str:
        figures = self.snapshot()
        return (
            f"StreamBackpressureController({figures.depth} of {self.config.maximum_items} items, "
            f"{figures.bytes_held} of {self.config.maximum_bytes} bytes, {'closed' if figures.is_paused else 'open'})"
        )

    def stream(self) -> StreamShare:
        """Return a share for one more stream, to be closed when that ends."""
        return StreamShare(self._pool)

    @property
    def read_size(self) -> int:
        """Bytes to ask for in the next read."""
        return self._own.read_size

    def note_read(self, bytes_read: int, seconds: float) -> int:
        """Learn from a read whose bytes took `seconds` to process; return the size of the next.

        For the one source that reads, not for several threads at once.
        """
        return self._own.note_read(bytes_read, seconds)

    def add(self, items: int = 1, size: int = 0) -> None:
        """Count in `items` of `size` bytes in all, which are now held; never refuses."""
        self._own.add(items, size)

    def release(self, items: int = 1, size: int = 0) -> None:
        """Count out what a consumer took. Raises `ValueError` for more than is held outside of streams."""
        self._own.release(items, size)

    def drop(self, items: int = 1, size: int = 0) -> None:
        """Count out what was thrown away unread; what was never added is to be added first."""
        self._own.drop(items, size)

    def try_acquire(self, items: int = 1, size: int = 0) -> bool:
        """Count in and return True if there is room beneath the maximum and nobody waits for it."""
        return self._own.try_acquire(items, size)

    async def acquire(self, items: int = 1, size: int = 0) -> None:
        """Wait in line until there is room beneath the maximum, and count in.

        What is larger than the maximum goes when nothing else of its kind is held.
        """
        await self._own.acquire(items, size)

    def permit(self, items: int = 1, size: int = 0) -> AbstractAsyncContextManager[None]:
        """Hold `items` of `size` bytes in all for the length of an `async with`; wait for room like `acquire`."""
        return self._own.permit(items, size)

    def snapshot(self) -> BackpressureSnapshot:
        """Return the figures of all streams together."""
        pool = self._pool
        with pool.lock:
            return pool.snapshot(
                pool.total,
                read_size=max(account.sizes.size for account in tuple(pool.accounts)),
                streams=len(pool.accounts) - 1,  # one of them is the controller's own
                waiting=len(pool.waiting),
            )


class _Account:
    """Counts of what came and what is held, of one stream or of all; the pool's lock guards them."""

    __slots__ = (
        "bytes_dropped", "bytes_held", "bytes_in", "depth", "dropped", "gate", "is_closed",
        "is_ending", "items_in", "peak_bytes", "peak_items", "sizes",
    )  # fmt: skip

    def __init__(self, gate: Gate, sizes: AdaptiveReadSize) -> None:
        self.gate, self.sizes = gate, sizes
        self.is_closed = False
        self.is_ending = False  # it is closed as long as nothing is held
        self.depth = self.peak_items = self.items_in = self.dropped = 0
        self.bytes_held = self.peak_bytes = self.bytes_in = self.bytes_dropped = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not (self.depth or self.bytes_held)

    @property
    def is_over(self) -> bool:
        """Whether it is closed, for good or as long as nothing is held."""
        return self.is_closed or (self.is_ending and self.is_empty)


class _Waiter:
    """Somebody in line for a permit."""

    __slots__ = ("account", "future", "is_granted", "items", "loop", "size")

    def __init__(self, account: _Account, items: int, size: int) -> None:
        self.account, self.items, self.size = account, items, size
        self.loop = asyncio.get_running_loop()
        self.future = self.loop.create_future()
        self.is_granted = False


class _Pool:
    """All accounts of a controller and their total, under one lock.

    Gates are closed and opened inside the lock: outside of it a late "close" could
    come after the "open" that it should have come before, and nobody would ever wake
    up. Those who wait at them are told outside of it, since every stage of a stream
    comes by here and may hold a lock of its own. The lock is reentrant because the
    collector may end an abandoned stream, and so close its account, in the middle of
    anything; for the same reason loops go over copies.
    """

    def __init__(self, config: BackpressureConfig, now: Callable[[], float]) -> None:
        self.config = config
        self.lock = threading.RLock()
        self.total = _Account(Gate(now=now), config.read_sizes())
        self.accounts: set[_Account] = set()
        self.waiting: deque[_Waiter] = deque()
        self.to_tell: list[Callable[[], None]] = []
        self._now = now
        self._is_paused = False
        self._high_items, self._low_items = config.marks(config.maximum_items)
        self._high_bytes, self._low_bytes = config.marks(config.maximum_bytes)

    @property
    def fullness(self) -> float:
        """How deep it is, as a fraction of the high mark."""
        return max(self.total.depth / self._high_items, self.total.bytes_held / self._high_bytes)

    def open_account(self) -> _Account:
        """Return a new account."""
        account = _Account(Gate(now=self._now), self.config.read_sizes())
        with self.lock:
            self.accounts.add(account)
        return account

    def put(self, account: _Account, items: int, size: int) -> None:
        """Count in: for one account and for all, written out because every token comes by here."""
        if items < 0 or size < 0:
            raise _negative(items, size)
        if account.is_closed:
            return
        if account.is_ending and (items or size):
            self.accounts.add(account)
        account.items_in += items
        account.bytes_in += size
        depth = account.depth = account.depth + items
        if depth > account.peak_items:  # noqa: PLR1730 - max() costs four times as much
            account.peak_items = depth
        held = account.bytes_held = account.bytes_held + size
        if held > account.peak_bytes:  # noqa: PLR1730
            account.peak_bytes = held
        total = self.total
        total.items_in += items
        total.bytes_in += size
        depth = total.depth = total.depth + items
        if depth > total.peak_items:  # noqa: PLR1730
            total.peak_items = depth
        held = total.bytes_held = total.bytes_held + size
        if held > total.peak_bytes:  # noqa: PLR1730
            total.peak_bytes = held
        if self._is_paused:
            self._settle(account)
        elif depth >= self._high_items or held >= self._high_bytes:
            self._pause()

    def take(self, account: _Account, items: int, size: int) -> None:
        """Count out, and let in whom that makes room for."""
        if account.is_closed:
            return
        if not (0 <= items <= account.depth and 0 <= size <= account.bytes_held):
            raise ValueError(
                f"cannot release {items} items of {size} bytes: "
                f"{account.depth} items of {account.bytes_held} bytes are held"
            )
        account.depth -= items
        account.bytes_held -= size
        self._went(account, items, size)

    def drop(self, account: _Account, items: int, size: int) -> None:
        """Count out as thrown away."""
        if account.is_closed:
            return
        self.take(account, items, size)
        for counts in (account, self.total):
            counts.dropped += items
            counts.bytes_dropped += size

    def close_account(self, account: _Account) -> None:
        """Count out all of it and forget it."""
        if account.is_closed:
            return
        account.is_closed = True
        self.accounts.discard(account)
        for waiter in [waiter for waiter in tuple(self.waiting) if waiter.account is account]:
            self.waiting.remove(waiter)
            wake(waiter.loop, waiter.future)
        items, size = account.depth, account.bytes_held
        account.depth = account.bytes_held = 0
        self._settle(account)
        self._went(account, items, size)

    def let_end(self, account: _Account) -> None:
        """Forget the account whenever it is empty."""
        account.is_ending = True
        if account.is_empty:
            self.accounts.discard(account)

    def try_acquire(self, account: _Account, items: int, size: int) -> bool:
        """Count in if there is room and nobody waits."""
        if items < 0 or size < 0:
            raise _negative(items, size)
        if not account.is_closed and (self.waiting or not self._has_room(items, size)):
            return False
        self.put(account, items, size)
        return True

    async def acquire(self, account: _Account, items: int, size: int) -> None:
        """Count in, in turn."""
        with self.lock:
            if self.try_acquire(account, items, size):
                return
            waiter = _Waiter(account, items, size)
            self.waiting.append(waiter)
        try:
            await waiter.future
        except BaseException:  # cancelled, maybe when it had been granted already
            with self.lock:
                if waiter.is_granted:
                    self.take(account, items, size)
                elif waiter in self.waiting:
                    self.waiting.remove(waiter)
                    self._admit()
            self.tell()
            raise

    def tell(self) -> None:
        """Let go on who waited at a gate that opened; to be called outside of the lock."""
        with self.lock:
            listeners, self.to_tell = self.to_tell, []
        call_each(listeners)

    def snapshot(self, counts: _Account, *, read_size: int, streams: int, waiting: int) -> BackpressureSnapshot:
        """Return what is in `counts`."""
        return BackpressureSnapshot(
            depth=counts.depth,
            bytes_held=counts.bytes_held,
            peak_items=counts.peak_items,
            peak_bytes=counts.peak_bytes,
            items_in=counts.items_in,
            bytes_in=counts.bytes_in,
            dropped=counts.dropped,
            bytes_dropped=counts.bytes_dropped,
            is_paused=not counts.gate.is_open,
            times_paused=counts.gate.times_closed,
            seconds_paused=counts.gate.seconds_closed,
            read_size=read_size,
            streams=streams,
            waiting=waiting,
        )

    def _went(self, account: _Account, items: int, size: int) -> None:
        """Bring the total, the gates and the line up to date with what left `account`."""
        total = self.total
        total.depth -= items
        total.bytes_held -= size
        if self._is_paused:
            if total.depth <= self._low_items and total.bytes_held <= self._low_bytes:
                self._resume()
            elif account.is_empty:
                self._settle(account)
        if account.is_ending and account.is_empty:  # only now that its gate is open
            self.accounts.discard(account)
        if self.waiting:
            self._admit()

    def _has_room(self, items: int, size: int) -> bool:
        return _fits(items, self.total.depth, self.config.maximum_items) and _fits(
            size, self.total.bytes_held, self.config.maximum_bytes
        )

    def _admit(self) -> None:
        """Let in who is first in line, as long as there is room."""
        while self.waiting and self._has_room(self.waiting[0].items, self.waiting[0].size):
            waiter = self.waiting.popleft()
            if wake(waiter.loop, waiter.future):
                waiter.is_granted = True
                self.put(waiter.account, waiter.items, waiter.size)

    def _pause(self) -> None:
        self._is_paused = True
        self._settle_all()

    def _resume(self) -> None:
        self._is_paused = False
        self._settle_all()

    def _settle_all(self) -> None:
        for account in (self.total, *self.accounts):
            self._settle(account)

    def _settle(self, account: _Account) -> None:
        """Close the account's gate if all together are over the mark and it holds something, else open it."""
        if self._is_paused and not account.is_empty:
            account.gate.close(self)
        if not self._is_paused or account.is_empty:  # looked at again: the collector may have closed another meanwhile
            listeners = account.gate.let_go(self)
            self.to_tell.extend(listeners)


def _negative(items: int, size: int) -> ValueError:
    return ValueError(f"neither {items} items nor {size} bytes may be negative")


def _fits(request: int, held: int, maximum: int) -> bool:
    """Whether there is room; for what is larger than all the room there is, if there is nothing else."""
    return held + request <= maximum or not held
