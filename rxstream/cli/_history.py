"""What was typed, kept for the arrow keys: in the user's state directory, for its owner's eyes alone."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

MOST_LINES = 1_000


def editor() -> ModuleType | None:
    """Return `readline`, which gives `input` arrow keys, history and completion; `None` where there is none."""
    try:
        import readline  # Windows has none, nor have some small builds
    except ImportError:
        return None
    return readline


def history_file(environment: Mapping[str, str]) -> Path:
    """Return where the history lies: as the XDG base directories have it, or in Windows' own place."""
    given = environment.get("XDG_STATE_HOME", "")
    if given and Path(given).is_absolute():  # the specification has relative ones ignored
        return Path(given) / "rxstream" / "history"
    if sys.platform == "win32" and (local := environment.get("LOCALAPPDATA")):
        return Path(local) / "rxstream" / "history"
    return Path.home() / ".local" / "state" / "rxstream" / "history"


class LineEditor:
    """`input`, with history and completion where the system has them; multi-line pastes come as one."""

    def __init__(self, file: Path | None, words: Sequence[str]) -> None:
        self._file = file
        self._readline = editor()
        self._words = words
        if self._readline is not None:
            self._readline.parse_and_bind("tab: complete")
            self._readline.parse_and_bind("set enable-bracketed-paste on")  # Python may turn it off
            self._readline.set_completer_delims("")
            self._readline.set_completer(self._complete)
            self._readline.set_auto_history(False)
            self._load()

    def read(self, prompt: str) -> str:
        """Read a line, or several that were pasted; raises `EOFError` at the end of the input."""
        line = input(prompt)
        if line.strip():
            self._keep(line)
        return line

    def _complete(self, text: str, number: int) -> str | None:
        found = [word for word in self._words if text and word.startswith(text)]
        return found[number] if number < len(found) else None

    def _load(self) -> None:
        if self._readline is None or self._file is None or not self._file.is_file():
            return
        try:
            lines = self._file.read_text("utf-8", errors="replace").splitlines()
        except OSError as error:
            self._give_up(error)
            return
        for line in lines[-MOST_LINES:]:
            self._readline.add_history(line)

    def _keep(self, line: str) -> None:
        """Keep a line at once, so that several conversations share one file; of several lines, one."""
        flat = " ".join(line.split())
        if self._readline is not None:
            self._readline.add_history(flat)
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(file, "a", encoding="utf-8", errors="replace") as history:
                history.write(flat + "\n")
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Say once that nothing is kept; the conversation goes on."""
        print(f"rxstream: nothing is kept of what you type: {self._file}: {error.strerror}", file=sys.stderr)
        self._file = None
