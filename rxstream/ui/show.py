"""A stream, shown: from wherever it runs to a window, in frames, and errors as values."""

import time
from collections.abc import Callable
from datetime import timedelta

from reactivex import Observable, abc
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxstream.operators import deliver_on, frames
from rxstream.tokens import StreamToken
from rxstream.ui.view import Answer, AnswerView

PERIOD = timedelta(milliseconds=33)
"""Thirty views a second: text that is read needs no more, and a screen half asleep is no slower for it."""
CAPACITY = 1024
"""Tokens that may wait for a window before the model is told to wait."""


def show(
    stream: Observable[StreamToken],
    on_view: Callable[[AnswerView], object],
    *,
    scheduler: abc.SchedulerBase | None = None,
    period: timedelta = PERIOD,
    now: Callable[[], float] = time.monotonic,
) -> abc.DisposableBase:
    """Subscribe to `stream` and call `on_view` on the thread of `scheduler`; disposing closes the connection.

    To be called on the thread of the UI, with its scheduler: `TkScheduler`, `QtScheduler`,
    or none on asyncio (Textual too). HTTP runs on the UI's own loop where that is asyncio,
    otherwise on the background loop, and stops when `CAPACITY` tokens wait for the window.
    The first view, of nothing, comes at once; then at most one in `period`; the last has
    `is_over`, and there is none after disposing. An error is in the last view's `error` and never
    raised; if `on_view` itself raises, that is the error, as `SubscriberError`.
    """
    answer = Answer(now)

    def on_frame(tokens: list[StreamToken]) -> None:
        on_view(answer.feed(tokens))

    def on_error(error: Exception) -> None:
        on_view(answer.fail(error))

    def on_completed() -> None:
        on_view(answer.complete())

    on_view(answer.view)
    framed = stream.pipe(frames(period))
    if scheduler is None or isinstance(scheduler, AsyncIOScheduler):
        return framed.subscribe(on_frame, on_error, on_completed, scheduler=scheduler)
    crossing: Callable[[Observable[list[StreamToken]]], Observable[list[StreamToken]]]
    crossing = deliver_on(scheduler, CAPACITY, weigh=len)
    return framed.pipe(crossing).subscribe(on_frame, on_error, on_completed)
