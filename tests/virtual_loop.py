"""An asyncio loop on which time passes only when nothing else is left to do.

Whenever the loop would sleep until its next timer, its clock jumps there instead:
an hour of timeouts takes a millisecond, and the same happens in the same order each
time. The wall clock that reactivex's schedulers show (`now`) follows the loop's, so
that operators which compare due times with `now` work as well.

    @virtual_time
    async def test_the_second_item_comes_a_minute_later() -> None: ...

or `run_virtual(coroutine)`, which returns what the coroutine returns. What a timer
or a scheduled action raises would only be logged by asyncio; here it fails the run.

Sockets work, but an answer over a socket takes real time while timers fire at once:
use it for code whose only way to wait is the loop. Work in an executor
(`asyncio.to_thread`) takes no virtual time. Other threads may call
`call_soon_threadsafe`, as long as no timer is set that they are to be quicker than.
"""

import asyncio
import functools
import itertools
import selectors
import weakref
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar
from unittest import mock

P = ParamSpec("P")
T = TypeVar("T")

EPOCH = datetime.fromtimestamp(0, UTC)
"""What the wall clock shows when the loop's clock shows 0."""

PATIENCE = 5.0
"""Real seconds to wait for another thread when the loop itself has nothing left to do."""


class DeadlockError(Exception):
    """Everything waits, no timer is set, and nothing came from outside."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` starts at 0 and jumps from timer to timer."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._in_executors = 0
        self._timers: weakref.WeakSet[asyncio.TimerHandle] = weakref.WeakSet()
        self.errors: list[BaseException] = []
        """What asyncio would only have logged."""
        super().__init__(_JumpingSelector(self))
        self.set_exception_handler(_keep_error)

    def time(self) -> float:
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Let the clock jump; to the nanosecond, so that 0.1 and 0.2 are 0.3."""
        self._seconds = round(self._seconds + seconds, 9)

    @property
    def awaits_executors(self) -> bool:
        """Whether other threads work for this loop, so that time has to stand still."""
        return self._in_executors > 0

    @property
    def pending_timers(self) -> int:
        """How many timers are set and neither cancelled nor over: what a leak test counts."""
        return sum(not timer.cancelled() and timer.when() > self._seconds for timer in self._timers)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        self._timers.add(timer)
        return timer

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self._in_executors += 1
        future.add_done_callback(self._left_executor)
        return future

    def _left_executor(self, _: asyncio.Future[Any]) -> None:
        self._in_executors -= 1


class _RankedTimer(asyncio.TimerHandle):
    """A timer that stays in order among those due with it.

    A real clock has moved on between two calls, so asyncio need not rank equal due
    times and does not; here every call of a moment is due at the same one.
    """

    _numbers = itertools.count()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._number = next(self._numbers)

    def __lt__(self, other: object) -> bool:
        assert isinstance(other, _RankedTimer)
        return (self.when(), self._number) < (other.when(), other._number)


class _JumpingSelector(selectors.DefaultSelector):
    """Looks at the sockets without waiting, and moves the clock instead."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self._loop.awaits_executors:
            ready = super().select(PATIENCE)
            if not ready:
                raise DeadlockError(f"everything waits, no timer is set, and nothing came in {PATIENCE:g} real seconds")
        else:
            self._loop.advance(timeout)
        return ready


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a `VirtualTimeLoop` and return what it returns.

    Raises what it raises, or an `ExceptionGroup` of what timers, scheduled actions
    and forgotten tasks raised.
    """
    with mock.patch("asyncio.events.TimerHandle", _RankedTimer), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        with wall_clock_of(loop.time):
            result = runner.run(main)
    if loop.errors:
        raise BaseExceptionGroup("raised where nobody awaited it", loop.errors)
    return result


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a plain test of an `async def` one, run by `run_virtual`."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(test(*args, **kwargs))

    return run


@contextmanager
def wall_clock_of(seconds: Callable[[], float]) -> Generator[None]:
    """Let the `now` of every scheduler that shows the wall clock follow `seconds` since `EPOCH`."""

    def now() -> datetime:
        return EPOCH + timedelta(seconds=seconds())

    with mock.patch("reactivex.scheduler.scheduler.default_now", now):
        yield


def _keep_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, VirtualTimeLoop)
    loop.errors.append(context.get("exception") or RuntimeError(context["message"]))
