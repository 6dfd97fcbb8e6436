"""Loops that are turned by hand and left behind, and a lock that something gets in before."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any


async def turns(count: int = 5) -> None:
    """Let everything that is ready run: a wake-up takes a turn of the loop for each gate that it goes through."""
    for _ in range(count):
        await asyncio.sleep(0)


def leave_behind(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop with tasks on it; asyncio would complain of each, and that is what the test is about."""
    loop.set_exception_handler(_ignore)
    loop.close()


def _ignore(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    """Say nothing."""


class HookedLock:
    """A reentrant lock that, the first time, lets something else happen before it is taken."""

    def __init__(self, before: Callable[[], None]) -> None:
        self._before: Callable[[], None] | None = before
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            before()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
