"""A display for tests that open real windows: the one there is, else a virtual one of our own.

A virtual display lives exactly as long as the process. Tk keeps its connection to a display after the last window is
destroyed, and whatever it does next after losing it ends the whole process: Xlib calls `exit(1)`, and what it
complains of goes where pytest captures it. So nobody here stops a display that was once used. A shell holds it, and
stops it when its own input ends, which is when this process does, however that comes about.
"""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest

_HELD_BY_A_SHELL = """
Xvfb -displayfd 1 -screen 0 1280x1024x24 -noreset -nolisten tcp </dev/null 2>/dev/null & server=$!
exec >&-
read -r _
kill "$server"
wait "$server"
"""
"""With `-noreset`: a server that begins anew whenever its last client leaves would drop who is just coming."""


@contextmanager
def display() -> Generator[None]:
    """Run the body where there is a display to open windows on; skip, and say so, where none can be had."""
    if "DISPLAY" not in os.environ and sys.platform not in {"win32", "darwin"}:
        if shutil.which("Xvfb") is None:
            pytest.skip("there is no display, and no Xvfb to make one")
        os.environ["DISPLAY"] = _start_virtual_display()[0]
    yield


@functools.cache  # which keeps the holder, too
def _start_virtual_display() -> tuple[str, "subprocess.Popen[bytes]"]:
    """Return the name of a new virtual display, and what holds it until this process ends."""
    holder = subprocess.Popen(["/bin/sh", "-c", _HELD_BY_A_SHELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    name = holder.stdout.readline().decode().strip()  # ends without a word where the server does not start
    assert name, "Xvfb did not start"
    return f":{name}", holder
