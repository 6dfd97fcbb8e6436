"""The event loop that a stream runs on.

A subscription made inside a running loop stays on it. One made outside, in a
script, a Tk program or another thread, uses one background loop, started once for
the process in a thread of its own. A fork starts another one: threads are not
inherited, so the streams of the parent go on there and nowhere else.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable

from reactivex import abc
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxstream.schedulers.flow_scheduler import FlowScheduler, running_loop

_THREAD_NAME = "rxstream"


class _BackgroundLoop:
    """An event loop in a daemon thread; it ends, with everything on it, at the exit of the interpreter."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=_THREAD_NAME, daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Cancel what still runs and end the thread; nothing to do in a fork, which has no such thread."""
        if self.process == os.getpid() and self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


_lock = threading.Lock()
_background: _BackgroundLoop | None = None

if hasattr(os, "register_at_fork"):  # a fork must not find the lock held by a thread that it does not have
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the background loop of this process, started if need be."""
    global _background  # noqa: PLW0603  # one for the process, and a fork needs its own
    with _lock:
        if _background is None or _background.process != os.getpid():
            _background = _BackgroundLoop()
        return _background.loop


def loop_for(scheduler: abc.SchedulerBase | None) -> asyncio.AbstractEventLoop:
    """Return the loop for a subscription with `scheduler`: its own, else the running one, else the background one.

    A scheduler that puts something before another one (its `inner`) has that one's loop.
    """
    while isinstance(inner := getattr(scheduler, "inner", None), abc.SchedulerBase):
        scheduler = inner
    if isinstance(scheduler, FlowScheduler):
        return scheduler.loop
    # Rx's own scheduler keeps its loop to itself; where a release hides it better, the other loops serve.
    own = getattr(scheduler, "_loop", None) if isinstance(scheduler, AsyncIOScheduler) else None
    return own if isinstance(own, asyncio.AbstractEventLoop) else running_loop() or background_loop()


def call_on(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Let `loop` call `callback`, from any thread; nobody does if it is closed, since nothing is left to do there."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # it may close at any moment, in its own thread
        if not loop.is_closed():
            raise
