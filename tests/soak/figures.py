"""What a process holds: memory, tasks, timers, files, threads, objects."""

import asyncio
import gc
import threading
from collections import Counter
from pathlib import Path
from types import FunctionType
from typing import Any, cast

from msgspec import Struct

from rxstream.schedulers import background_loop

POOLED = "rxstream.sources.connections"
"""Connections, which aiohttp keeps in its pool for a while, the lost ones too."""
DESCRIPTORS = Path("/proc/self/fd")
EXACT, USUAL = Path("/proc/self/smaps_rollup"), Path("/proc/self/status")


class Figures(Struct, frozen=True):
    """What the process holds when nothing is to be done."""

    resident: int
    """KiB of memory; 0 where the system does not tell."""
    tasks: int
    """On the main and the background loop."""
    timers: int
    """But for those by which aiohttp drops idle connections."""
    descriptors: int
    """Open files and sockets; 0 where the system does not tell."""
    threads: int
    ours: int
    """Objects and functions of rxstream, and what reactivex made for it, that the collector knows."""
    objects: int
    """All objects that the collector knows."""


async def figures() -> Figures:
    """Collect garbage and count what is left."""
    background = background_loop()
    tasks = [len(asyncio.all_tasks()), len(asyncio.all_tasks(background))]
    timers = [_timers(loop) for loop in (asyncio.get_running_loop(), background)]
    for _ in range(2):
        gc.collect()
    return Figures(
        resident=resident(),
        tasks=sum(tasks),
        timers=sum(timers),
        descriptors=_descriptors(),
        threads=threading.active_count(),
        ours=sum(ours().values()),
        objects=len(gc.get_objects()),
    )


def _descriptors() -> int:
    return sum(1 for _ in DESCRIPTORS.iterdir()) if DESCRIPTORS.exists() else 0


def resident() -> int:
    """Return how many KiB of this process are in memory."""
    source, name = (EXACT, "Rss:") if EXACT.exists() else (USUAL, "VmRSS:")
    if not source.exists():
        return 0
    return next(int(line.split()[1]) for line in source.read_text().splitlines() if line.startswith(name))


def ours() -> Counter[str]:
    """Return the objects and functions of rxstream and reactivex that the collector knows, by what they are."""
    return Counter(named for each in gc.get_objects() if (named := _named(each)) is not None)


def _named(each: Any) -> str | None:
    thing = cast(Any, each if isinstance(each, FunctionType) else type(each))
    module: Any = getattr(thing, "__module__", None)
    if not isinstance(module, str) or not module.startswith(("rxstream.", "reactivex.")) or module == POOLED:
        return None
    return f"{module}.{thing.__qualname__}"


def _timers(loop: asyncio.AbstractEventLoop) -> int:
    set_ = [timer for timer in list(getattr(loop, "_scheduled", ())) if not timer.cancelled()]
    return sum(getattr(timer._callback, "__module__", None) != "aiohttp.helpers" for timer in set_)
