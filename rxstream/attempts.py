"""Ask again while nothing of the answer has been seen: what providers and `retry_before_content` share.

After the first content a second request would be a second answer, so from there
on an error is passed on with what had arrived. Until then a `StreamStart` is
held back: the request that answers in the end gives its own.
"""

import random as _random
from collections.abc import Callable
from typing import TypeVar

import reactivex
from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SerialDisposable

from rxstream.errors import StreamError
from rxstream.flow import RetryPolicy
from rxstream.rx import raised_by_subscriber
from rxstream.tokens import StreamStart, StreamToken

T = TypeVar("T")


def attempts_at(
    attempt: Callable[[], Observable[list[StreamToken]]], policy: RetryPolicy
) -> Observable[list[StreamToken]]:
    """Return what the source that `attempt` makes gives; another one's if it fails, retryably, before its content.

    Each list is passed on whole.
    """
    return retried(attempt, policy, _random.random, _are_starts)


def is_start(token: StreamToken) -> bool:
    """Whether `token` says nothing yet of the answer itself."""
    return isinstance(token, StreamStart)


def _are_starts(tokens: list[StreamToken]) -> bool:
    return all(map(is_start, tokens))


def retried(
    attempt: Callable[[], Observable[T]],
    policy: RetryPolicy,
    random: Callable[[], float],
    is_start: Callable[[T], bool],
) -> Observable[T]:
    """Do the same for items of any kind; `is_start` says whether one may still be taken back."""

    def subscribe(observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        current, waiting = SerialDisposable(), SerialDisposable()
        held: list[T] = []
        has_begun = False
        retries = 0

        def begin() -> None:
            nonlocal has_begun
            has_begun = True
            starts = held.copy()
            held.clear()  # before a subscriber can raise: what it was given once is not given again
            for item in starts:
                observer.on_next(item)

        def on_next(item: T) -> None:
            if has_begun:
                observer.on_next(item)
            elif is_start(item):
                held.append(item)
            else:
                begin()
                observer.on_next(item)

        def on_error(error: Exception) -> None:
            nonlocal retries
            delay = None
            if not has_begun and isinstance(error, StreamError) and error.is_retryable:
                delay = policy.delay(retries, error.retry_after, random)
            if delay is None:
                try:
                    begin()
                finally:
                    observer.on_error(error)
                return
            retries += 1
            held.clear()
            waiting.disposable = reactivex.timer(delay).subscribe(lambda _: begin_attempt(), scheduler=scheduler)

        def on_completed() -> None:
            try:
                begin()
            except Exception as error:  # the source has ended and cannot say it any more
                observer.on_error(raised_by_subscriber(error))
            else:
                observer.on_completed()

        def begin_attempt() -> None:
            try:
                source = attempt()
            except Exception as error:
                on_error(error)
                return
            current.disposable = source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

        begin_attempt()
        return CompositeDisposable(current, waiting)

    return Observable(subscribe)
