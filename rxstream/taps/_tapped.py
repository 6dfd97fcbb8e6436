"""Where all taps meet Rx: the one closure that looks at a stream and changes nothing.

Every signal is looked at before it goes on. Of the three endings, completed, failed
and cancelled, a tap hears exactly one, and then it is let go.
"""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxstream.taps.quietly import quietly, report

T = TypeVar("T")


class Look(Protocol):
    """What looks at one subscription. What it raises is logged and harms nobody."""

    def on_item(self, item: object, /) -> object:
        """Look at an item; once this has raised it is not called any more."""
        ...

    def on_failed(self, error: Exception, /) -> object:
        """The stream failed."""
        ...

    def on_completed(self) -> object:
        """The stream completed."""
        ...

    def on_cancelled(self) -> object:
        """The consumer let go of the stream before it had ended."""
        ...


def tapped(source: Observable[T], begin: Callable[[abc.SchedulerBase | None], Look]) -> Observable[T]:
    """Return `source`, looked at by what `begin` returns for each subscription, given its scheduler."""

    def subscribe(observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        try:
            look = begin(scheduler)
        except Exception as error:
            report(error)
            return source.subscribe(observer, scheduler=scheduler)
        on_item, emit = look.on_item, observer.on_next
        on_failed, on_completed, on_cancelled = map(quietly, (look.on_failed, look.on_completed, look.on_cancelled))
        ending = threading.Lock()  # taken by the first ending, from whatever thread; never released or waited for
        is_looking = True

        def next_(item: T) -> None:
            nonlocal is_looking
            if is_looking:
                try:
                    on_item(item)
                except Exception as error:
                    is_looking = False
                    report(error)
            emit(item)

        def failed(error: Exception) -> None:
            if ending.acquire(blocking=False):
                on_failed(error)
            observer.on_error(error)

        def completed() -> None:
            if ending.acquire(blocking=False):
                on_completed()
            observer.on_completed()

        subscription = source.subscribe(next_, failed, completed, scheduler=scheduler)

        def dispose() -> None:
            if ending.acquire(blocking=False):
                on_cancelled()
            subscription.dispose()

        return Disposable(dispose)

    return Observable(subscribe)
