"""The four deadlines of a stream, and the one timer that watches them."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from rxstream.errors import (
    ConnectTimeoutError,
    DeadlineError,
    FirstContentTimeoutError,
    IdleTimeoutError,
    TotalTimeoutError,
)

GRACE = 3
"""Turns of the loop between a deadline and its error: what came while the loop was blocked is read in them."""


class Deadlines(Struct, frozen=True, kw_only=True):
    """How long to wait for what, in seconds; `None` waits for ever.

    Time during which the stream waits for its own consumer counts for `total`
    alone: it is not the server that is silent then.
    """

    connect: float | None = 10.0
    """For a connection: name look-up, TCP and TLS."""
    first_content: float | None = 300.0
    """From the request to the first content; pings and comments are not content. Models that think are slow."""
    idle: float | None = 120.0
    """Between two signs of progress after that."""
    total: float | None = None
    """From the request to the end."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            seconds = getattr(self, name)
            if seconds is not None and seconds <= 0:
                raise ValueError(f"the {name} deadline must be a positive number of seconds or None, not {seconds}")

    def connect_error(self) -> DeadlineError:
        """Return the error for a connection that took too long."""
        return ConnectTimeoutError(f"no connection within {self.connect:g} s" if self.connect else "no connection")

    def answer_error(self) -> DeadlineError:
        """Return the error for an answer, read as one, that took too long."""
        return FirstContentTimeoutError(
            f"no answer within {self.first_content:g} s" if self.first_content else "no answer"
        )


class Progress(Protocol):
    """What reads the body and knows what it means."""

    @property
    def ended(self) -> bool:
        """Whether the API's end mark was read."""
        ...

    @property
    def tokens_made(self) -> int:
        """Rises with each real step of the answer."""
        ...

    @property
    def has_content(self) -> bool:
        """Whether the answer itself has begun."""
        ...


class Watchdog:
    """One coarse timer for one stream: progress moves a number, and only the timer looks at it.

    `expire` is called, once, with the error of the deadline that passed.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines, expire: Callable[[DeadlineError], None]
    ) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self._expire = expire
        self._started = self._last = loop.time()
        self._has_content = False
        self._paused_at: float | None = None
        self._timer: asyncio.Handle | None = None
        self._arm()

    @staticmethod
    def seen(progress: Progress | None) -> int:
        """Return where `progress` is, before a chunk."""
        return 0 if progress is None else progress.tokens_made

    def note(self, progress: Progress | None, seen: int, now: float) -> None:
        """Take note of what a chunk brought by `now` (loop time) since `progress` was `seen`.

        Only content ends the wait for the first one. Where nobody tells, every chunk counts.
        """
        if progress is not None and progress.tokens_made == seen:
            return
        if self._has_content:
            self._last = now
        elif progress is None or progress.has_content:
            self._last = now
            self._has_content = True
            self._arm()  # the idle deadline is often the shorter one

    def pause(self) -> None:
        """Stop the clocks of silence: the stream waits for its own consumer."""
        self._paused_at = self._loop.time()

    def resume(self) -> None:
        """Let the clocks of silence go on from where they were."""
        if self._paused_at is not None:
            self._last += self._loop.time() - self._paused_at
            self._paused_at = None
            self._arm()

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> tuple[float, type[DeadlineError]] | None:
        """When the next deadline passes as things stand, and which it is."""
        due = None
        silence, total = self._silence, self._deadlines.total
        if silence is not None and self._paused_at is None:
            due = self._last + silence, IdleTimeoutError if self._has_content else FirstContentTimeoutError
        if total is not None and (due is None or self._started + total <= due[0]):
            due = self._started + total, TotalTimeoutError
        return due

    @property
    def _silence(self) -> float | None:
        return self._deadlines.idle if self._has_content else self._deadlines.first_content

    def _error(self, kind: type[DeadlineError]) -> DeadlineError:
        if kind is TotalTimeoutError:
            return kind(f"the stream did not end within {self._deadlines.total:g} s")
        return kind(f"no {'progress' if self._has_content else 'content'} within {self._silence:g} s")

    def _arm(self) -> None:
        self.stop()
        due = self._due()
        if due is not None:
            self._timer = self._loop.call_at(due[0], self._look)

    def _look(self, turns: int = GRACE) -> None:
        due = self._due()
        if due is None or due[0] > self._loop.time():
            self._arm()
        elif turns:
            self._timer = self._loop.call_soon(self._look, turns - 1)
        else:
            self._timer = None
            self._expire(self._error(due[1]))
