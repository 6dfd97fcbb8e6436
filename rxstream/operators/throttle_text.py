"""Text at a steady pace, for display."""

import math
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from reactivex import Observable, abc

from rxstream.operators._courier import Courier
from rxstream.operators._graphemes import LONGEST, first_end
from rxstream.schedulers.gated_scheduler import on_time
from rxstream.tokens import StreamToken, TextDelta


def throttle_text(
    characters_per_second: float = 200,
    *,
    max_lag: timedelta = timedelta(seconds=0.5),
    period: timedelta = timedelta(seconds=1 / 30),
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """Give text out evenly, however lumpy it comes, at `characters_per_second` or as fast as it has to be.

    The source is never slowed: what comes faster is given out faster, so that no
    character is later than `max_lag` (and one `period`). Text comes at most once in
    `period`, joined to one delta for each block. Every other token keeps its place
    in the order. At the end, good or bad, all that is left comes at once. Timers run
    on the subscription's scheduler. Raises `ValueError` for what is not positive.
    """
    TextThrottle(characters_per_second, max_lag=max_lag, period=period)

    def operator(source: Observable[StreamToken]) -> Observable[StreamToken]:
        def subscribe(
            observer: abc.ObserverBase[StreamToken], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            throttle = TextThrottle(characters_per_second, max_lag=max_lag, period=period)
            courier = _Throttled(observer, on_time(scheduler), throttle)
            courier.source.disposable = source.subscribe(
                courier.on_next, courier.on_error, courier.on_completed, scheduler=scheduler
            )
            return courier.disposable()

        return Observable(subscribe)

    return operator


class _Run:
    """Text of one block that came within one period."""

    __slots__ = ("choice", "due", "index", "pieces", "since", "start", "waits")

    def __init__(self, delta: TextDelta, now: float, max_lag: float) -> None:
        self.index, self.choice = delta.index, delta.choice
        self.pieces = [delta.text]
        self.start = 0  # how much of the first piece has been given out
        self.waits = len(delta.text)
        self.since, self.due = now, now + max_lag

    def add(self, text: str) -> None:
        """Add text that came after."""
        self.pieces.append(text)
        self.waits += len(text)

    def take(self, count: int) -> str:
        """Take out at least `count` characters, and then as many as belong to the last grapheme."""
        text = "".join(self.pieces)
        ahead = text[self.start : self.start + count + LONGEST + 1]
        taken = ahead[: first_end(ahead, count)]
        self.pieces, self.start = [text], self.start + len(taken)
        self.waits = len(text) - self.start
        return taken


class TextThrottle:
    """Decides how much of the text may be shown at a time, given in seconds of any steady clock.

    `take` gives what may be shown now, when `wait` says so, and counts as one tick.
    """

    def __init__(self, characters_per_second: float, *, max_lag: timedelta, period: timedelta) -> None:
        self._period, self._max_lag = period.total_seconds(), max_lag.total_seconds()
        if not (characters_per_second > 0 and self._period > 0 and self._max_lag > 0):
            raise ValueError(
                "characters per second, lag and period must be more than 0, "
                f"not {characters_per_second}, {max_lag} and {period}"
            )
        self._quota = characters_per_second * self._period
        self._left = 0.0  # of the quota: a part of a character
        self._next_at = -math.inf
        self.waiting: deque[_Run | StreamToken] = deque()
        """What was not given out yet."""

    def feed(self, token: StreamToken, now: float) -> None:
        """Take in what came at `now`."""
        if not isinstance(token, TextDelta) or not token.text:
            self.waiting.append(token)
            return
        last = self.waiting[-1] if self.waiting else None
        if (
            isinstance(last, _Run)
            and (last.index, last.choice) == (token.index, token.choice)
            and now - last.since < self._period
        ):
            last.add(token.text)
        else:
            self.waiting.append(_Run(token, now, self._max_lag))

    def wait(self, now: float) -> float:
        """Return the seconds until something may be shown: only text ever has to wait."""
        return self._next_at - now if self.waiting and isinstance(self.waiting[0], _Run) else 0.0

    def take(self, now: float) -> list[StreamToken]:
        """Return what is to be shown at `now`."""
        taken = self._take(0)  # what is no text
        if not self.waiting or now < self._next_at:
            return taken
        self._left += self._quota
        count = max(1, int(self._left), self._needed(now))
        taken += self._take(count)
        self._left = min(1.0, max(0.0, self._left - count)) if self.waiting else 0.0
        self._next_at = now + self._period
        return taken

    def flush(self) -> list[StreamToken]:
        """Return all that is left."""
        return self._take(math.inf)

    def _needed(self, now: float) -> int:
        """How many characters have to go now, so that each is out when it is due without a jump before."""
        needed, before = 0, 0
        for run in self.waiting:
            if isinstance(run, _Run):
                before += run.waits
                ticks = max(1, 1 + math.floor((run.due - now) / self._period))
                needed = max(needed, math.ceil(before / ticks))
        return needed

    def _take(self, count: float) -> list[StreamToken]:
        taken: list[StreamToken] = []
        while self.waiting:
            head = self.waiting[0]
            if not isinstance(head, _Run):
                taken.append(head)
                self.waiting.popleft()
                continue
            if count <= 0:
                break
            text = head.take(int(min(count, head.waits)))
            count -= len(text)
            if not head.waits:
                self.waiting.popleft()
            _append(taken, TextDelta(text, head.index, head.choice))
        return taken


def _append(tokens: list[StreamToken], delta: TextDelta) -> None:
    """Append `delta`, or join it to the last one if that is of the same block."""
    last = tokens[-1] if tokens else None
    if isinstance(last, TextDelta) and (last.index, last.choice) == (delta.index, delta.choice):
        tokens[-1] = TextDelta(last.text + delta.text, delta.index, delta.choice)
    else:
        tokens.append(delta)


class _Throttled(Courier[StreamToken]):
    def __init__(
        self, observer: abc.ObserverBase[StreamToken], scheduler: abc.SchedulerBase, throttle: TextThrottle
    ) -> None:
        super().__init__(observer, scheduler, throttle.waiting)
        self._throttle = throttle

    def _put(self, item: StreamToken) -> None:
        with self._lock:
            self._throttle.feed(item, self._now())

    def _wait(self) -> float:
        with self._lock:
            return 0.0 if self.is_ended else self._throttle.wait(self._now())

    def _deliver_next(self) -> None:
        with self._lock:
            tokens = self._throttle.flush() if self.is_ended else self._throttle.take(self._now())
        for token in tokens:
            self._emit(token)

    def _forget(self) -> None:
        with self._lock:
            self._throttle.waiting.clear()
