"""Programs that leave while streams are open: `python -m tests.end_to_end.leaving NAME`.

Each opens one stream in every state that a server can leave it in, goes away in its own
manner, and prints what is to be seen from inside.
"""

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rxstream import AiProvider, collect, iterate
from rxstream.flow import RetryPolicy
from rxstream.simulator import FAST, At, HttpError, Script, Settings, Simulator, Stall, simulator_in_background
from tests.loopback import turns

PATIENCE = 30.0
"""Seconds after which something that was to happen has failed to."""
WHOLE = Script(deltas=("one ", "two ", "three "))
SILENCES = (Stall(at=At(head=0)), Stall(at=At(head=20)), Stall(at=At()), Stall(at=At(tokens=1)))
STATES = [
    *(Script(deltas=("one ", "two ", "three "), faults=(silence,)) for silence in SILENCES),
    Script(length=50_000),  # never read to its end, by whoever is slow
    Script(faults=(HttpError(status=503, retry_after=1_000),)),
]


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


@contextmanager
def provided() -> Generator[tuple[Simulator, AiProvider]]:
    """A simulator on a thread of its own, and a provider in front of it."""
    with simulator_in_background(Settings(speed=FAST)) as simulator:
        retry = RetryPolicy(max_retry_after=2_000)
        url = simulator.base_url("openai.chat")
        yield simulator, AiProvider("openai.chat", base_url=url, api_key=None, retry=retry)


def open_all(simulator: Simulator, provider: AiProvider) -> None:
    """Subscribe to one stream in each state; nothing of it may be heard again but tokens."""
    for script in STATES:
        simulator.expect(script)
        made = simulator.requests_made
        provider.stream("hello", model="m").subscribe(on_error=say, on_completed=lambda: say("completed"))
        until(lambda made=made: simulator.requests_made > made)


async def open_all_here(simulator: Simulator, provider: AiProvider) -> None:
    """Do the same on the running loop, and begin to iterate and to collect too."""

    async def look() -> None:
        async with iterate(provider.stream("hello", model="m"), capacity=1) as tokens:
            async for _ in tokens:
                await asyncio.get_running_loop().create_future()

    for script in STATES:
        simulator.expect(script, script, script)
        made = simulator.requests_made
        provider.stream("hello", model="m").subscribe(on_error=say, on_completed=lambda: say("completed"))
        TASKS.append(asyncio.ensure_future(look()))
        TASKS.append(asyncio.ensure_future(collect(provider.stream("hello", model="m"))))
        await came(lambda made=made: simulator.requests_made >= made + 3)
    await turns(100)  # the last of them gets to where it waits


TASKS: list[asyncio.Future[Any]] = []
OPEN: list[AbstractContextManager[tuple[Simulator, AiProvider]]] = []
"""What is never left."""


def until(condition: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE, "it never came to it"
        time.sleep(0.001)


async def came(condition: Callable[[], bool]) -> None:
    for _ in range(int(PATIENCE * 1_000)):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to it")


def files() -> int:
    """How many files and sockets are open, where the system tells."""
    folder = "/proc/self/fd"
    return len(os.listdir(folder)) if os.path.exists(folder) else 0  # noqa: PTH110, PTH208  # a number, no paths


def the_run_ends() -> None:
    """`asyncio.run` returns, and then other runs do that went well: nothing stays open, although the provider lives."""
    with provided() as (simulator, provider):
        before = files()
        asyncio.run(open_all_here(simulator, provider))
        until(lambda: simulator.open_connections == 0)
        assert files() == before
        TASKS.clear()
        simulator.expect(*[WHOLE] * 3)
        for _ in range(3):
            say(asyncio.run(collect(provider.stream("hello", model="m"))).text)
            until(lambda: simulator.open_connections == 0)
        assert files() == before


def the_loop_is_closed() -> None:
    """A loop is closed as it is, without a chance to end anything: what it held goes once nobody knows it."""
    with provided() as (simulator, provider):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(subscribe_here(simulator, provider))
        loop.close()
        simulator.expect(WHOLE)
        say(asyncio.run(collect(provider.stream("hello", model="m"))).text)
        del loop, provider
        gc.collect()
        until(lambda: simulator.open_connections == 0)
        say("gone")


async def subscribe_here(simulator: Simulator, provider: AiProvider) -> None:
    for script in STATES:
        simulator.expect(script)
        made = simulator.requests_made
        provider.stream("hello", model="m").subscribe(on_error=say, on_completed=lambda: say("completed"))
        await came(lambda made=made: simulator.requests_made > made)
    await turns(100)  # the last of them gets to where it waits


def the_program_ends() -> None:
    """The main thread has nothing more to do; the streams are on the background loop."""
    OPEN.append(provided())
    simulator, provider = OPEN[0].__enter__()
    open_all(simulator, provider)
    say("bye")


def the_program_exits() -> None:
    the_program_ends()
    sys.exit(3)


def heard(provider: AiProvider) -> str:
    """The text of an answer, from a thread without a loop."""
    words: list[str] = []
    over = threading.Event()
    stream = provider.stream("hello", model="m")
    stream.subscribe(lambda token: words.append(getattr(token, "text", "")), lambda _: over.set(), over.set)
    assert over.wait(PATIENCE), "no end"
    return "".join(words)


def it_forks_beside_the_background_loop() -> None:
    """A child streams anew with what it inherited, and the parent's stream goes on."""
    with provided() as (simulator, provider):
        simulator.expect(
            WHOLE, Script(deltas=("one ", "two "), faults=(Stall(at=At(tokens=1), seconds=1),)), *[WHOLE] * 4
        )
        heard(provider)
        got = threading.Event()
        over = threading.Event()
        parents = provider.stream("hello", model="m").subscribe(lambda _: got.set(), say, over.set)
        assert got.wait(PATIENCE)
        child = os.fork()
        if child == 0:
            parents.dispose()
            say(f"child: {heard(provider)}")
            say(f"child: {asyncio.run(collect(provider.stream('hello', model='m'))).text}")
            asyncio.run(provider.aclose())
            sys.exit(0)
        say(f"status {os.waitpid(child, 0)[1]}")
        assert over.wait(PATIENCE), "the parent's stream has stopped"
        say(f"parent: {heard(provider)}")


def it_forks_inside_a_loop() -> None:
    """The same from within `asyncio.run`; such a child leaves by `os._exit`, as those of multiprocessing do."""

    async def main(simulator: Simulator, provider: AiProvider) -> None:
        simulator.expect(
            WHOLE, Script(deltas=("one ", "two "), faults=(Stall(at=At(tokens=1), seconds=1),)), *[WHOLE] * 4
        )
        await collect(provider.stream("hello", model="m"))
        parents = asyncio.ensure_future(collect(provider.stream("hello", model="m")))
        await came(lambda: simulator.requests_made >= 2)
        child = os.fork()
        if child == 0:
            parents.cancel()
            say(f"child: {heard(provider)}")
            say(f"child: {asyncio.run(collect(provider.stream('hello', model='m'))).text}")
            asyncio.run(provider.aclose())
            del provider
            gc.collect()
            os._exit(0)
        say(f"status {(await asyncio.to_thread(os.waitpid, child, 0))[1]}")
        say(f"parent: {(await asyncio.wait_for(parents, PATIENCE)).text}")
        say(f"parent: {(await collect(provider.stream('hello', model='m'))).text}")

    with provided() as (simulator, provider):
        asyncio.run(main(simulator, provider))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
