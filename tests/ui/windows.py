"""What the chat windows are tried with: a simulator to talk to, and what a window must leave behind: nothing."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager

from rxstream import AiProvider
from rxstream.simulator import FAST, FLOOD, Script, Settings, Simulator, Speed
from rxstream.ui import Ask
from tests.demand import turns
from tests.end_to_end.background import in_background, on_background

PIECES = tuple(f"{number} " for number in range(20_000))
BURST = Settings(script=Script(deltas=PIECES, speed=FAST, writes=FLOOD))
"""An answer in twenty thousand pieces, each of which can be told from the others, as fast as it is read."""
ENDLESS = Settings(script=Script(length=20_000, speed=Speed(100, 0)))
"""An answer that nobody hears to its end."""


def asking(provider: AiProvider) -> Ask:
    """Return what asks `provider`."""
    return lambda messages: provider.stream(messages, model="gpt-5")


def at(simulator: Simulator) -> AiProvider:
    """Return a provider that is `simulator`."""
    return AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key=None)


@contextmanager
def simulated(settings: Settings) -> Generator[tuple[Simulator, Ask]]:
    """Give a simulator on the background loop, and what asks it; nothing of either may be left at the end."""
    on_background(turns())
    threads, tasks = set(threading.enumerate()), on_background(others())
    with in_background(Simulator(settings)) as simulator, in_background(at(simulator)) as provider:
        yield simulator, asking(provider)
    on_background(turns())
    assert set(threading.enumerate()) == threads
    assert on_background(others()) == tasks


async def others() -> int:
    """Return how many other tasks there are on this loop."""
    return len(asyncio.all_tasks()) - 1
