"""Streams without a running loop: scripts and UI threads."""

import asyncio
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxstream.providers import AiProvider
from rxstream.schedulers import FlowScheduler, ThrottlingScheduler, background_loop, loop_for
from rxstream.sources import HttpStreamHandler
from rxstream.tokens import StreamToken
from tests.loopback import CHUNKED, Exchange, serving
from tests.sources.test_http import BODY, WHOLE
from tests.toy import TOY

PATIENCE = 10.0
"""Seconds after which a thread that was to say something has failed."""


class ServerThread:
    """A loopback server on a loop of its own, for tests that have none."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self._handle) as self.url:
            self._ready.set()
            await self._done.wait()

    def __enter__(self) -> "ServerThread":
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(PATIENCE)


def test_a_script_without_a_loop_gets_its_answer() -> None:
    async def handle(exchange: Exchange) -> None:
        while await exchange.read_request():
            await exchange.send(CHUNKED)
            await exchange.send_chunk(BODY)
            await exchange.send_chunk(b"")

    heard: list[StreamToken] = []
    threads: set[str] = set()
    over = threading.Event()

    def on_next(token: StreamToken) -> None:
        heard.append(token)
        threads.add(threading.current_thread().name)

    with ServerThread(handle) as server:
        provider = AiProvider(TOY, base_url=server.url, api_key=None)
        provider.stream("hello", model="toy").subscribe(on_next, lambda _: over.set(), over.set)
        assert over.wait(PATIENCE)
        asyncio.run_coroutine_threadsafe(provider.aclose(), background_loop()).result(PATIENCE)

    assert heard == WHOLE
    assert threads == {"rxstream"}


def test_dispose_from_another_thread_closes_the_connection() -> None:
    started, closed = threading.Event(), threading.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.send(CHUNKED)
        await exchange.send_chunk(b"start\ntext a\n")
        await exchange.wait_closed_by_client()
        closed.set()

    with ServerThread(handle) as server:
        provider = AiProvider(TOY, base_url=server.url, api_key=None)
        subscription = provider.stream("hello", model="toy").subscribe(lambda _: started.set())
        assert started.wait(PATIENCE)
        subscription.dispose()
        assert closed.wait(PATIENCE)
        asyncio.run_coroutine_threadsafe(provider.aclose(), background_loop()).result(PATIENCE)


def test_the_loop_is_the_schedulers_then_the_running_one_then_the_background_one() -> None:
    own = asyncio.new_event_loop()

    async def running() -> bool:
        return loop_for(None) is asyncio.get_running_loop()

    assert own.run_until_complete(running())
    assert loop_for(AsyncIOScheduler(own)) is own
    assert loop_for(ThrottlingScheduler(FlowScheduler(own), timedelta(seconds=1))) is own
    assert loop_for(None) is background_loop()
    own.close()


@pytest.mark.parametrize("ending", ["", "import os; sys.stdout.flush(); os.kill(os.getpid(), 2)"])
def test_exit_with_an_open_stream_is_quiet(ending: str) -> None:
    script = f"""
import sys, threading, time
sys.path.insert(0, {sys.path[0]!r})
from tests.sources.test_background import *

async def handle(exchange):
    await exchange.read_request()
    await exchange.send(CHUNKED)
    await exchange.send_chunk(b"start\\ntext a\\n")
    await exchange.wait_closed_by_client()

started = threading.Event()
server = ServerThread(handle)
server._thread.daemon = True
server.__enter__()
provider = AiProvider(TOY, base_url=server.url, api_key=None)
provider.stream("hello", model="toy").subscribe(lambda _: started.set())
assert started.wait({PATIENCE})
print("listening")
try:
    {ending or "pass"}
except KeyboardInterrupt:
    pass
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "listening\n", "")


def test_a_dropped_provider_is_quiet_at_exit() -> None:
    script = f"""
import sys
sys.path.insert(0, {sys.path[0]!r})
from tests.sources.test_background import *

async def handle(exchange):
    while await exchange.read_request():
        await exchange.send(CHUNKED)
        await exchange.send_chunk(BODY)
        await exchange.send_chunk(b"")

async def main():
    over = asyncio.Event()
    provider = AiProvider(TOY, base_url=server.url, api_key=None)
    provider.stream("hello", model="toy").subscribe(on_completed=over.set)
    await over.wait()
    print("done")

with ServerThread(handle) as server:
    asyncio.run(main())
    import gc; gc.collect()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_body_is_read_on_the_background_loop_too() -> None:
    heard: list[StreamToken] = []
    over = threading.Event()

    HttpStreamHandler(TOY).into_stream([BODY]).subscribe(heard.append, on_completed=over.set)

    assert over.wait(PATIENCE)
    assert heard == WHOLE
