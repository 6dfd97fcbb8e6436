"""The background loop, as a test on the main thread sees it."""

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

from rxstream.schedulers import background_loop

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which what another thread was to do has failed."""


def on_background(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the background loop, wait for it, and return what it returns."""
    return asyncio.run_coroutine_threadsafe(coroutine, background_loop()).result(PATIENCE)


@contextmanager
def in_background(manager: AbstractAsyncContextManager[T]) -> Generator[T]:
    """Enter and leave `manager` on the background loop."""

    async def enter() -> T:
        return await manager.__aenter__()

    async def leave() -> None:
        await manager.__aexit__(None, None, None)

    entered = on_background(enter())
    try:
        yield entered
    finally:
        on_background(leave())
