"""Everything that arrived since the last frame, as one list: what a UI subscribes to."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from reactivex import Observable, abc

from rxstream.operators._courier import Courier
from rxstream.schedulers.gated_scheduler import on_time

T = TypeVar("T")


def frames(period: timedelta) -> Callable[[Observable[T]], Observable[list[T]]]:
    """Give what arrived since the last frame as one list, at most once in `period`.

    The first item comes at once; what comes within `period` of a frame waits for the
    next. A timer is set only while something waits, so an idle stream costs nothing.
    At the end, good or bad, what waits comes at once, before it. The source is not
    slowed. Timers run on the subscription's scheduler; to a UI on another thread goes
    `frames(...)` and then `deliver_on(scheduler, weigh=len)`, which bounds what is in
    the frames that wait. Raises `ValueError` for a period that is not positive.
    """
    seconds = period.total_seconds()
    if seconds <= 0:
        raise ValueError(f"the period must be more than 0, not {period}")

    def operator(source: Observable[T]) -> Observable[list[T]]:
        def subscribe(
            observer: abc.ObserverBase[list[T]], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            courier = _Frames[T](observer, on_time(scheduler), seconds)
            courier.source.disposable = source.subscribe(
                courier.on_next, courier.on_error, courier.on_completed, scheduler=scheduler
            )
            return courier.disposable()

        return Observable(subscribe)

    return operator


class _Frames(Courier[T]):
    def __init__(self, observer: abc.ObserverBase[list[T]], scheduler: abc.SchedulerBase, period: float) -> None:
        self._items: list[T] = []
        super().__init__(observer, scheduler, self._items)
        self._period = period
        self._next_at = self._now()

    def _put(self, item: T) -> None:
        self._items.append(item)

    def _wait(self) -> float:
        return 0.0 if self.is_ended else self._next_at - self._now()

    def _deliver_next(self) -> None:
        # Another thread may append between the two, which the second leaves alone.
        frame = self._items[:]
        del self._items[: len(frame)]
        self._next_at = self._now() + self._period
        if frame:
            self._emit(frame)

    def _forget(self) -> None:
        self._items.clear()
