"""The HTTP sessions of one owner: one for each event loop, none of which outlives its loop or its owner.

A session belongs to the loop that it was made on, and nobody tells it when that loop
shuts down. An async generator is told, by `loop.shutdown_asyncgens()`, which
`asyncio.run` and the background loop call; so one goes with each session.

A fork inherits the sockets of its parent: it uses none of them, and closes none, since
that would tell the system to watch them no longer for the parent either.
"""

import asyncio
import atexit
import os
import ssl
import weakref
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import aiohttp
from msgspec import Struct

from rxstream.sources.connections import Connector


class _Open(Struct, frozen=True):
    """A session, and what closes it when its loop shuts down."""

    session: aiohttp.ClientSession
    keeper: AsyncGenerator[None]
    process: int


_of_the_parent: list[object] = []
"""In a fork: what would be closed if it were collected."""


class Sessions:
    """The sessions of one owner, each made when it is first wanted on its loop; safe from any thread.

    Certificates are verified by what the system trusts, or by `ssl_context`. Close them with
    `close`; those that are only dropped close their connections all the same.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl = True if ssl_context is None else ssl_context
        self._held: dict[asyncio.AbstractEventLoop, _Open] = {}
        _alive.add(self)

    def __del__(self) -> None:
        self.abandon()

    def here(self) -> aiohttp.ClientSession:
        """Return the session of the running loop."""
        loop = asyncio.get_running_loop()
        self._forget_what_is_over()
        held = self._held.get(loop)
        if held is None or held.session.closed:
            # no limit: a stream holds its connection for long, and one more must not hang behind others
            session = aiohttp.ClientSession(connector=Connector(self, limit=0, ssl=self._ssl))
            held = self._held[loop] = _Open(session, _closed_with_its_loop(session), os.getpid())
            _step(anext(held.keeper))
        return held.session

    async def close(self) -> None:
        """Close them all, those of other loops too; others are made if they are wanted later."""
        self._forget_what_is_over()
        here = asyncio.get_running_loop()
        for loop in list(self._held):
            held = self._held.pop(loop)
            if loop is here:
                await held.keeper.aclose()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(held.keeper.aclose(), loop))
            else:
                _abandon(loop, held)

    def abandon(self) -> None:
        """Close the connections of those that nobody closed, without a wait and without a word."""
        for loop in list(self._held):
            _abandon(loop, self._held.pop(loop))

    def _forget_what_is_over(self) -> None:
        """Let go of the sessions of loops that are closed, and of those that are the parent's."""
        for loop, held in list(self._held.items()):
            if loop.is_closed() or held.process != os.getpid():
                self._held.pop(loop, None)
                _abandon(loop, held)


# Not a finalizer, which would be a root: a stream that its loop was closed under holds its owner, and so this.
_alive: weakref.WeakSet[Sessions] = weakref.WeakSet()


@atexit.register
def _abandon_all() -> None:
    for sessions in list(_alive):
        sessions.abandon()


async def _closed_with_its_loop(session: aiohttp.ClientSession) -> AsyncGenerator[None]:
    """Close `session` when this generator is closed, as a loop does that shuts down."""
    try:
        yield
    finally:
        await session.close()


def _abandon(loop: asyncio.AbstractEventLoop, held: _Open) -> None:
    connector = held.session.connector
    held.session.detach()
    if held.process != os.getpid():
        _of_the_parent.append((connector, held.keeper))
    elif loop.is_running():
        asyncio.run_coroutine_threadsafe(_close(connector, held.keeper), loop)
    else:
        _step(_close(connector, held.keeper))  # nothing is left to wait for, or nobody who would


async def _close(connector: aiohttp.BaseConnector | None, keeper: AsyncGenerator[None]) -> None:
    await keeper.aclose()
    if connector is not None:
        await connector.close()


def _step(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Do what `coroutine` does before it waits for the first time."""
    next(coroutine.__await__(), None)
