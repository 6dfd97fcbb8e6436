"""One subscription, and no second one."""

import threading
from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxstream.errors import ConfigurationError

T = TypeVar("T")


def once() -> Callable[[Observable[T]], Observable[T]]:
    """Let the stream be subscribed to once; a second subscription is a `ConfigurationError`, not a second request.

    It counts from the first subscription on, also after that has ended or was disposed of.
    What is upstream may still subscribe anew, as a retry does.
    """

    def operator(source: Observable[T]) -> Observable[T]:
        taken = threading.Lock()  # by the first subscription, from whatever thread; never released or waited for

        def subscribe(observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            if taken.acquire(blocking=False):
                return source.subscribe(observer, scheduler=scheduler)
            observer.on_error(
                ConfigurationError(
                    "this stream can be subscribed to only once: fan_out() gives one answer to several, "
                    "and to ask again make a new stream"
                )
            )
            return Disposable()

        return Observable(subscribe)

    return operator
