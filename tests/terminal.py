"""A program on a pseudo-terminal, and the screen that somebody before it would see."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import pyte

PATIENCE = 20
"""Seconds without a sign of life after which a test fails."""
KEYS = ("OPENAI_", "ANTHROPIC_", "GROQ_")


def environment(**more: str) -> dict[str, str]:
    """The environment without anybody's keys and addresses, and with a terminal of known abilities."""
    left_out = (*KEYS, "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return kept | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | more


class Terminal:
    """A program, and what it shows; everything that scrolled off the screen is remembered."""

    def __init__(self, command: list[str], *, rows: int, columns: int, environment: Mapping[str, str]) -> None:
        self.screen: Any = pyte.HistoryScreen(columns, rows, history=100_000, ratio=0.5)
        self._stream: Any = pyte.ByteStream(self.screen)
        self.raw = b""
        """All bytes that the program wrote."""
        self._ours, theirs = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_FRONT, *command],
            stdin=theirs, stdout=theirs, stderr=theirs, env=dict(environment), start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def resize(self, rows: int, columns: int) -> None:
        """Make the window another size."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def type(self, keys: str) -> None:
        """Press keys, control characters among them: code 3 is Ctrl-C, code 4 Ctrl-D."""
        os.write(self._ours, keys.encode())

    def wait_for(self, shown: str) -> None:
        """Read until the screen, or what scrolled off it, matches the pattern `shown`."""
        while not re.search(shown, self.text, re.MULTILINE):
            assert self._read(), f"the program ended without {shown!r}:\n{self.text}"

    def wait_for_end(self) -> int:
        """Read until the program ends; return its exit status."""
        while self._read():
            continue
        return self.process.wait(PATIENCE)

    @property
    def text(self) -> str:
        """All that was shown and not erased, trailing spaces left out."""
        scrolled = ["".join(line[x].data for x in range(self.screen.columns)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*scrolled, *self.screen.display]).rstrip()

    @property
    def frames(self) -> int:
        """How often the live part was drawn."""
        return self.raw.count(b"\x1b[?2026h")

    def close(self) -> None:
        """End the program, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], PATIENCE)
        assert ready, f"nothing happens any more:\n{self.text}"
        try:
            data = os.read(self._ours, 65_536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)


# Ctrl-C reaches the program whose controlling terminal it is pressed on, so it has to take that one first.
_IN_FRONT = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@contextmanager
def rxstream(
    *arguments: str, size: tuple[int, int] = (30, 80), variables: Mapping[str, str] | None = None
) -> Generator[Terminal]:
    """Run the command line on a terminal of so many rows and columns, with more `variables` in its environment."""
    command = ["-m", "rxstream", *arguments]
    rows, columns = size
    terminal = Terminal(command, rows=rows, columns=columns, environment=environment(**(variables or {})))
    try:
        yield terminal
    finally:
        terminal.close()
