"""Ask again while nothing of the answer has been seen.

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


def retry_before_content(
    policy: RetryPolicy | None = None, *, random: Callable[[], float] = _random.random
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """Subscribe again to a source that failed, retryably, before its first content.

    Waits on the scheduler of the subscription, for as long as `policy` or the
    service says. An error that is not retryable, or one retry too many, is passed on.
    """
    return _retrying(policy or RetryPolicy(), random, _is_start)


def retry_lists_before_content(
    policy: RetryPolicy,
) -> Callable[[Observable[list[StreamToken]]], Observable[list[StreamToken]]]:
    """Do the same for a source of lists of tokens, each of which is passed on whole."""
    return _retrying(policy, _random.random, _are_starts)


def _is_start(token: StreamToken) -> bool:
    return isinstance(token, StreamStart)


def _are_starts(tokens: list[StreamToken]) -> bool:
    return all(map(_is_start, tokens))


def _retrying(
    policy: RetryPolicy, random: Callable[[], float], is_start: Callable[[T], bool]
) -> Callable[[Observable[T]], Observable[T]]:
    """The operator for items of any kind; `is_start` says whether one may still be taken back."""

    def operator(source: Observable[T]) -> Observable[T]:
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
                waiting.disposable = reactivex.timer(delay).subscribe(lambda _: attempt(), scheduler=scheduler)

            def on_completed() -> None:
                try:
                    begin()
                except Exception as error:  # the source has ended and cannot say it any more
                    observer.on_error(raised_by_subscriber(error))
                else:
                    observer.on_completed()

            def attempt() -> None:
                current.disposable = source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

            attempt()
            return CompositeDisposable(current, waiting)

        return Observable(subscribe)

    return operator
