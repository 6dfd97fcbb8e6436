"""What the tests of several threads share."""

import random
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Make the threads of a test interrupt each other anywhere in `rxstream.flow`, within a statement too.

    Left alone, CPython changes threads at calls and jumps only, and so hides that a lock is missing.
    """
    chance, lock = random.Random(0), threading.Lock()

    def stumble(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_globals.get("__name__", "").startswith("rxstream.flow"):
            return None
        frame.f_trace_opcodes = True
        with lock:
            is_interrupted = event == "opcode" and chance.random() < 0.2
        if is_interrupted:
            time.sleep(0)  # lets another thread run, and waits for nothing
        return stumble

    usual_interval, usual_trace = sys.getswitchinterval(), threading.gettrace()
    sys.setswitchinterval(1e-6)
    threading.settrace(stumble)
    yield
    threading.settrace(usual_trace)
    sys.setswitchinterval(usual_interval)
