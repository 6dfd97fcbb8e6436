"""A display for tests that open real windows: the one that is there, else a virtual one for as long as it is needed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest


@contextmanager
def display() -> Generator[None]:
    """Run the body with a display to open windows on; skip, and say so, where there is none and no Xvfb."""
    if "DISPLAY" in os.environ or sys.platform in {"win32", "darwin"}:
        yield
        return
    if shutil.which("Xvfb") is None:
        pytest.skip("there is no display, and no Xvfb to make one")
    reader, writer = os.pipe()
    with os.fdopen(reader) as answer, pytest.MonkeyPatch.context() as environment:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
            pass_fds=[writer],
            stderr=subprocess.DEVNULL,
        )
        try:
            os.close(writer)
            number = answer.readline().strip()  # of the display, once it can be used; nothing if Xvfb could not start
            assert number, f"Xvfb could not start, exit status {server.poll()}"
            environment.setenv("DISPLAY", f":{number}")
            yield
        finally:
            server.terminate()
            server.wait()
