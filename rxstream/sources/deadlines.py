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
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def progress(self, now: float, *, has_content: bool) -> None:
        """Take note that the answer went on at `now` (loop time); only content ends the wait for the first one."""
        if has_content or self._has_content:
            self._last = now
            if not self._has_content:
                self._has_content = True
                self._arm()  # the idle deadline is often the shorter one

    @staticmethod
    def seen(progress: Progress | None) -> int:
        """Return where `progress` is, before a chunk."""
        return 0 if progress is None else progress.tokens_made

    def note(self, progress: Progress | None, seen: int) -> None:
        """Take note of what a chunk brought since `progress` was `seen`; where nobody tells, every chunk counts."""
        if progress is None:
            self.progress(self._loop.time(), has_content=True)
        elif progress.tokens_made != seen:
            self.progress(self._loop.time(), has_content=progress.has_content)

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

    def _due(self) -> tuple[float, DeadlineError] | None:
        """When the next deadline passes as things stand, and its error."""
        deadlines = self._deadlines
        dues: list[tuple[float, DeadlineError]] = []
        if deadlines.total is not None:
            error = TotalTimeoutError(f"the stream did not end within {deadlines.total:g} s")
            dues.append((self._started + deadlines.total, error))
        silence = deadlines.idle if self._has_content else deadlines.first_content
        if silence is not None and self._paused_at is None:
            what = "progress" if self._has_content else "content"
            kind = IdleTimeoutError if self._has_content else FirstContentTimeoutError
            dues.append((self._last + silence, kind(f"no {what} within {silence:g} s")))
        return min(dues, key=lambda due: due[0], default=None)

    def _arm(self) -> None:
        self.stop()
        due = self._due()
        if due is not None:
            self._timer = self._loop.call_at(due[0], self._look)

    def _look(self) -> None:
        due = self._due()
        if due is not None and due[0] <= self._loop.time():
            self._timer = None
            self._expire(due[1])
        else:
            self._arm()
