"""What a burst does to each chat window, over loopback, each in a process of its own.

`python -m tests.benchmarks.ui NAME URL` prints as JSON, for the toolkit NAME, while an answer of
20,000 tokens in one paragraph comes as fast as it is taken:

- `gap`: milliseconds for which the event loop of the UI did not come back, the longest;
- `view`: milliseconds in which a view was drawn, the longest;
- `whole`: milliseconds from the question until the last token was drawn.

Qt draws off screen and Textual without a terminal; Tk needs a display, and is left out where there is none.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

from reactivex import Observable

from rxstream import AiProvider, Message, StreamToken
from rxstream.ui import AnswerView
from tests.benchmarks.bodies import expected_text

TOOLKITS = ("tk", "qt", "textual")
UNITS = {
    "gap": "milliseconds without the UI, the longest",
    "view": "milliseconds to draw a view, the longest",
    "whole": "milliseconds until all is drawn",
}
"""What each figure is in."""
REFERENCE = "qt"
COUNT = 20_000
WARM_UP = 500
SETTLED = 300
"""Milliseconds after which what the warm-up left has been done."""


def measure(base: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return every figure of each toolkit that is there, in each round, the toolkits in turn."""
    figures: dict[str, dict[str, list[float]]] = {figure: {} for figure in UNITS}
    for _ in range(rounds):
        for name in TOOLKITS:
            command = [sys.executable, "-m", "tests.benchmarks.ui", name, base]
            environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                print(f"  {name} is left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                continue
            for figure, value in json.loads(done.stdout.splitlines()[-1]).items():
                figures[figure].setdefault(name, []).append(value)
    return figures


class Watch:
    """Has a window ask for a short answer and then a long one, and keeps its eye on the clock."""

    def __init__(self, base: str) -> None:
        self._providers = [
            AiProvider("openai.chat", base_url=f"{base}/flood/{count}", api_key=None) for count in (WARM_UP, COUNT)
        ]
        self._ticked = self._asked = time.perf_counter()
        self.figures = dict.fromkeys(UNITS, 0.0)

    def ask(self, messages: list[Message]) -> Observable[StreamToken]:
        """Make the stream of the next answer."""
        self.figures = dict.fromkeys(UNITS, 0.0)
        self._ticked = self._asked = time.perf_counter()
        return self._providers.pop(0).stream(messages[-1:], model="gpt-5")

    def tick(self) -> None:
        """Note that the UI has its turn."""
        now = time.perf_counter()
        self._note("gap", now - self._ticked)
        self._ticked = now

    def draw(self, view: AnswerView, draw: Callable[[AnswerView], None], go_on: Callable[[bool], object]) -> None:
        """Draw `view`; when it is the last of an answer, go on, with another question or without."""
        began = time.perf_counter()
        draw(view)
        now = time.perf_counter()
        self._note("view", now - began)
        self._note("whole", now - self._asked)
        if view.is_over:
            assert len(view.text) in {expected_text(WARM_UP), expected_text(COUNT)}, view.status
            go_on(bool(self._providers))

    def _note(self, figure: str, seconds: float) -> None:
        self.figures[figure] = max(self.figures[figure], seconds * 1e3)


def watch_tk(watch: Watch) -> None:
    """Measure Tk."""
    import tkinter as tk

    from rxstream.ui.tk import ChatWindow

    root = tk.Tk()

    class Watched(ChatWindow):
        def draw(self, view: AnswerView) -> None:
            watch.draw(view, super().draw, self.go_on)

        def go_on(self, asks: bool) -> None:
            root.after(SETTLED, (lambda: self.conversation.ask("More!")) if asks else self.close)

    def tick() -> None:
        watch.tick()
        root.after(1, tick)

    window = Watched(root, watch.ask, "benchmark")
    window.prompt.insert(0, "Warm up!")
    root.update()
    tick()
    window.press()
    root.mainloop()


def watch_qt(watch: Watch) -> None:
    """Measure Qt."""
    from PySide6.QtCore import Qt, QTimer
    from PySide6.QtWidgets import QApplication

    from rxstream.ui.qt import ChatWindow

    application = QApplication([])

    class Watched(ChatWindow):
        def draw(self, view: AnswerView) -> None:
            watch.draw(view, super().draw, self.go_on)

        def go_on(self, asks: bool) -> None:
            QTimer.singleShot(SETTLED, (lambda: self.conversation.ask("More!")) if asks else self.close)

    timer = QTimer(timerType=Qt.TimerType.PreciseTimer)
    timer.timeout.connect(watch.tick)
    timer.start(1)
    window = Watched(watch.ask, "benchmark")
    window.show()
    window.prompt.setText("Warm up!")
    window.press()
    application.exec()


def watch_textual(watch: Watch) -> None:
    """Measure Textual."""
    from rxstream.ui.textual import ChatApp

    class Watched(ChatApp):
        def on_mount(self) -> None:
            self.set_timer(SETTLED / 1e3, lambda: self.conversation.ask("Warm up!"))
            self.tick()

        def tick(self) -> None:
            watch.tick()
            asyncio.get_running_loop().call_later(0.001, self.tick)

        def draw(self, view: AnswerView) -> None:
            watch.draw(view, super().draw, self.go_on)

        def go_on(self, asks: bool) -> None:
            self.set_timer(SETTLED / 1e3, (lambda: self.conversation.ask("More!")) if asks else self.exit)

    Watched(watch.ask, "benchmark").run(headless=True)


WATCHED = {"tk": watch_tk, "qt": watch_qt, "textual": watch_textual}

if __name__ == "__main__":
    watch = Watch(sys.argv[2])
    WATCHED[sys.argv[1]](watch)
    print(json.dumps(watch.figures))
