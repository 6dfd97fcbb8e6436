"""Answers that are shown while they come.

What is shown is one output of IPython, brought up to date by its `display_id`. That works
in every front end, and what is stored is the last state. It is done at most 25 times a second,
and less often where drawing takes long: at most a fifth of the time goes into it. Between two
drawings tokens are only kept; when nothing comes no timer runs. The end is drawn at once.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any, Generic, Protocol, TypeVar
from uuid import uuid4

from reactivex import Observable
from reactivex.disposable import SingleAssignmentDisposable

from rxstream.errors import ConfigurationError, StreamError
from rxstream.messages import AssembledMessage
from rxstream.notebook.page import AnswerPage, Price, State, side_by_side
from rxstream.schedulers import FlowScheduler, running_loop
from rxstream.taps import StreamMetrics, tap_metrics
from rxstream.tokens import StreamToken

R = TypeVar("R", covariant=True)

PERIOD = 0.04
"""Seconds from one drawing to the next, at least."""
REST = 4
"""How many times as long as a drawing took nothing is drawn after it, at least."""


class Screen(Protocol):
    """Where answers are shown."""

    def show(self, html: str, plain: str) -> None:
        """Show this in place of what was shown."""
        ...

    def offer_stop(self, stop: Callable[[], None]) -> None:
        """Let people call `stop`, if there is a way to."""
        ...

    def withdraw_stop(self) -> None:
        """There is nothing to stop any more."""
        ...


class Live(Generic[R]):
    """One answer or several, shown while they come. Await it for what they added up to.

    It runs whether or not anybody awaits it. A stream that failed is shown as such, and its
    message has an `error`; only mistakes of a program, a `ConfigurationError` and what is no
    `StreamError` at all, are raised when this is awaited. To cancel who awaits it, as a notebook's
    "interrupt" does, stops the streams.
    """

    def __init__(
        self, streams: "Mapping[str, Stream]", result: Callable[[Mapping[str, AssembledMessage]], R], screen: Screen
    ) -> None:
        loop = running_loop()
        if loop is None:
            raise ConfigurationError("there is no event loop here; in a notebook there is one")
        self._loop = loop
        self._result, self._screen = result, screen
        self._streams = streams
        self._running = set(streams)
        self._timer: asyncio.Handle | None = None
        self._next_at = loop.time()
        self._over = asyncio.Event()
        self._mistakes: list[Exception] = []
        screen.offer_stop(self.stop)
        self._draw()
        for name, stream in streams.items():
            stream.begin(loop, self._look, partial(self._end, name))

    def __await__(self) -> Generator[Any, None, R]:
        return self._wait().__await__()

    async def _wait(self) -> R:
        try:
            await self._over.wait()
        finally:
            self.stop()
        for mistake in self._mistakes:
            raise mistake
        return self.result

    @property
    def result(self) -> R:
        """What has come so far: the message, or the messages by name."""
        return self._result({name: stream.message for name, stream in self._streams.items()})

    @property
    def metrics(self) -> Mapping[str, StreamMetrics]:
        """The figures of each stream, by name."""
        return {name: stream.metrics for name, stream in self._streams.items()}

    @property
    def is_over(self) -> bool:
        """Whether all streams have ended."""
        return self._over.is_set()

    def stop(self) -> None:
        """Stop what still runs, which closes its connection; from any thread."""
        self._here(self._stop)

    def _stop(self) -> None:
        for name in list(self._running):
            self._streams[name].stop()
            self._end(name, "stopped", None)

    def _look(self) -> None:
        self._here(self._schedule)

    def _end(self, name: str, state: State, error: Exception | None) -> None:
        self._here(partial(self._note_end, name, state, error))

    def _note_end(self, name: str, state: State, error: Exception | None) -> None:
        if name not in self._running:
            return
        self._running.remove(name)
        self._streams[name].end(state, error)
        if error is not None and (isinstance(error, ConfigurationError) or not isinstance(error, StreamError)):
            self._mistakes.append(error)
        if self._running:
            self._schedule()
            return
        try:
            self._draw()
            self._screen.withdraw_stop()
        finally:
            self._over.set()

    def _schedule(self) -> None:
        if self._timer is None and not self._over.is_set():
            self._timer = self._loop.call_at(self._next_at, self._draw)

    def _draw(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        began = time.perf_counter()
        for stream in self._streams.values():
            stream.take()
        pages = [stream.html() for stream in self._streams.values()]
        page = pages[0] if len(pages) == 1 else side_by_side(pages)
        self._screen.show(page, "\n\n".join(stream.plain() for stream in self._streams.values()))
        self._next_at = self._loop.time() + max(PERIOD, REST * (time.perf_counter() - began))

    def _here(self, call: Callable[[], None]) -> None:
        """Call on the loop, at once if this is it."""
        if running_loop() is self._loop:
            call()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)


class Stream:
    """One of the streams that are shown, with what came of it and was not drawn yet."""

    def __init__(self, source: Observable[StreamToken], view: AnswerPage) -> None:
        self.metrics = StreamMetrics()
        self._source = source.pipe(tap_metrics(self.metrics))
        self._view = view
        self._waiting: list[StreamToken] = []
        self._subscription = SingleAssignmentDisposable()

    def begin(
        self,
        loop: asyncio.AbstractEventLoop,
        look: Callable[[], None],
        end: Callable[[State, Exception | None], None],
    ) -> None:
        """Subscribe; call `look` when there is something new, and `end` in the end."""

        def on_next(token: StreamToken) -> None:
            self._waiting.append(token)
            look()

        self._subscription.disposable = self._source.subscribe(
            on_next, partial(end, "failed"), partial(end, "complete", None), scheduler=FlowScheduler(loop)
        )

    def take(self) -> None:
        """Bring what waits into view."""
        tokens = self._waiting[:]  # another thread may append between the two, which the second leaves alone
        del self._waiting[: len(tokens)]
        if tokens:
            self._view.extend(tokens)

    def stop(self) -> None:
        self._subscription.dispose()

    def end(self, state: State, error: Exception | None) -> None:
        self.take()
        self._view.end(state, error)

    @property
    def message(self) -> AssembledMessage:
        self.take()
        return self._view.message

    def html(self) -> str:
        return self._view.html(self.metrics.summary(time.perf_counter()))

    def plain(self) -> str:
        return self._view.plain(self.metrics.summary(time.perf_counter()))


class NotebookScreen:
    """An output of IPython, and a button of ipywidgets where that is installed."""

    def __init__(self) -> None:
        self._id = uuid4().hex
        self._button: Any = None
        self._is_shown = False

    def show(self, html: str, plain: str) -> None:
        self._publish({"text/html": html, "text/plain": plain}, self._id, update=self._is_shown)
        self._is_shown = True

    def offer_stop(self, stop: Callable[[], None]) -> None:
        try:
            import ipywidgets  # pyright: ignore[reportMissingTypeStubs]  # it ships none
        except ImportError:  # there is still "interrupt", and `stop()` in another cell
            return
        widgets: Any = ipywidgets
        self._button = widgets.Button(description="Stop", icon="stop")

        def on_click(_: object) -> None:
            stop()

        self._button.on_click(on_click)
        data = self._button._repr_mimebundle_()  # IPython's protocol for what can show itself
        self._publish(data, self._id + "-stop", update=False)

    def withdraw_stop(self) -> None:
        if self._button is None:
            return
        self._button.close()
        self._publish({"text/html": "", "text/plain": ""}, self._id + "-stop", update=True)

    @staticmethod
    def _publish(data: dict[str, Any], display_id: str, *, update: bool) -> None:
        from IPython import display

        ipython: Any = display  # its functions name no types
        ipython.publish_display_data(data, transient={"display_id": display_id}, update=update)


def display(stream: Observable[StreamToken], *, price: Price | None = None) -> Live[AssembledMessage]:
    """Show the answer while it comes; `await` what this returns for the message.

    Markdown is rendered, thinking folded once the answer begins, tool calls are cards;
    beneath it stand the time to the first token, the rate and the usage, and with a
    `price` the cost, live. Without `await` the cell ends at once, and the answer goes on.
    Raises `ConfigurationError` where no event loop runs.
    """
    streams = {"answer": Stream(stream, AnswerPage(price=price))}
    return Live(streams, lambda messages: messages["answer"], NotebookScreen())


def compare(
    streams: Mapping[str, Observable[StreamToken]] | None = None, /, **named: Observable[StreamToken]
) -> Live[Mapping[str, AssembledMessage]]:
    """Show several answers side by side while they come; `await` what this returns for the messages by name.

    Names are keywords, or keys of a mapping: `compare(fast=..., slow=...)`. What is true of `display` is of each.
    """
    sources = {**(streams or {}), **named}
    if not sources:
        raise ConfigurationError("nothing to compare: name streams, as in compare(fast=..., slow=...)")
    views = {name: Stream(source, AnswerPage(name)) for name, source in sources.items()}
    return Live(views, dict, NotebookScreen())
