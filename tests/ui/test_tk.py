"""The Tk window, on a real display: a burst, the stop button, an error, and the end in mid-stream."""

import gc
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from rxstream.messages import AssembledMessage
from rxstream.simulator import HttpError, Script, Settings
from rxstream.ui import AnswerView, Ask, Phase
from tests.display import display
from tests.end_to_end.background import on_background
from tests.ui.windows import BURST, ENDLESS, PIECES, simulated

if TYPE_CHECKING:
    from tkinter import Tk


@pytest.fixture
def root() -> "Generator[Tk]":
    """A real Tk whose main loop gives up after a minute, so that a failure does not hang."""
    tk = pytest.importorskip("tkinter", reason="this Python has no tkinter")
    with display():
        root = tk.Tk()
        root.after(60_000, root.quit)
        yield root
        gc.collect()  # here, on its own thread: Tk aborts when another one finds it in its garbage


class Shown:
    """What a window drew."""

    def __init__(self, root: "Tk", ask: Ask, when: Callable[[Any, AnswerView], object]) -> None:
        from rxstream.ui.tk import ChatWindow

        self.views: list[AnswerView] = []
        self.events: list[str] = []
        self.text = ""
        shown = self

        class Watched(ChatWindow):
            def draw(self, view: AnswerView) -> None:
                super().draw(view)
                shown.views.append(view)
                shown.events.append("view")
                shown.text = self.transcript.get("answer", "end-1c")
                when(self, view)

        self.window = Watched(root, ask, "toy")
        self.window.prompt.insert(0, "Count!")
        self.window.button.invoke()


def close_when_over(window: Any, view: AnswerView) -> None:
    if view.is_over:
        window.root.after_idle(window.close)


def test_a_burst_is_shown_whole_and_in_order_while_tk_has_its_turns(root: "Tk") -> None:
    with simulated(BURST) as (_, ask):
        shown = Shown(root, ask, close_when_over)

        def tick() -> None:
            shown.events.append("tick")
            root.after(1, tick)

        tick()
        root.mainloop()

    first, last = shown.events.index("view"), len(shown.events) - shown.events[::-1].index("view")
    assert shown.views[-1].phase is Phase.DONE
    assert shown.views[-1].text == "".join(PIECES)
    assert shown.text.replace("\n", "") == "".join(PIECES)
    assert "tick" in shown.events[first:last]
    assert len(shown.views) < len(PIECES) / 10


def test_the_button_stops_the_answer_and_the_window_asks_again(root: "Tk") -> None:
    def stop(window: Any, view: AnswerView) -> None:
        if view.text and not view.is_over:
            root.after_idle(window.press)
        elif view.is_over and len(window.conversation.messages) < 4:
            window.prompt.insert(0, "And on?")
            root.after_idle(window.press)
        else:
            close_when_over(window, view)

    with simulated(ENDLESS) as (simulator, ask):
        shown = Shown(root, ask, stop)
        root.mainloop()

        assert [view.phase for view in shown.views if view.is_over] == [Phase.STOPPED] * 2
        assert simulator.requests_made == 2


def test_an_error_is_shown_and_the_window_goes_on(root: "Tk") -> None:
    with simulated(Settings(script=Script(faults=(HttpError(status=401),)))) as (_, ask):
        shown = Shown(root, ask, close_when_over)
        root.mainloop()

    assert shown.views[-1].phase is Phase.FAILED
    assert str(shown.views[-1].error) in shown.text


def test_text_that_is_taken_back_disappears(root: "Tk") -> None:
    def take_back(window: Any, view: AnswerView) -> None:
        if view.is_over and view.message.id:
            root.after_idle(window.draw, AnswerView(message=AssembledMessage(text="No"), phase=Phase.DONE))
        else:
            close_when_over(window, view)

    with simulated(Settings(script=Script(text="Hi"))) as (_, ask):
        shown = Shown(root, ask, take_back)
        root.mainloop()

    assert shown.text == "No"


def test_closed_in_mid_stream_it_leaves_nothing(root: "Tk", capfd: pytest.CaptureFixture[str]) -> None:
    def close(window: Any, view: AnswerView) -> None:
        if view.text:
            window.close()

    with simulated(ENDLESS) as (simulator, ask):
        shown = Shown(root, ask, close)
        root.mainloop()
        on_background(simulator.connection_closed())

    assert not shown.views[-1].is_over
    assert simulator.requests[0].outcome == "client left"
    assert capfd.readouterr().err == ""
