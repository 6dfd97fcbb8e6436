"""A display for tests that open real windows."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest


@contextmanager
def display() -> Generator[None]:
    """Run the body where there is a display to open windows on; skip, and say so, where there is none.

    To run under a virtual one: `xvfb-run -a python -m pytest tests/schedulers`. The tests start none by
    themselves: losing its connection to the display makes Xlib end the whole process, and with it every other test.
    """
    if "DISPLAY" not in os.environ and sys.platform not in {"win32", "darwin"}:
        pytest.skip("there is no display; xvfb-run makes one")
    yield
