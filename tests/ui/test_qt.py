"""The Qt window, off screen: a burst, the stop button, an error, and the end in mid-stream."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from rxstream.messages import AssembledMessage
from rxstream.simulator import HttpError, Script, Settings
from rxstream.ui import AnswerView, Ask, Phase
from tests.end_to_end.background import on_background
from tests.ui.windows import BURST, ENDLESS, PIECES, simulated

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> "Generator[QApplication]":
    """A real application whose event loop gives up after a minute, so that a failure does not hang."""
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    # Its libraries may want others of the system.
    widgets = pytest.importorskip("PySide6.QtWidgets", reason="there is no PySide6", exc_type=ImportError)
    from PySide6.QtCore import QTimer

    application: QApplication = widgets.QApplication.instance() or widgets.QApplication([])
    limit = QTimer(singleShot=True)
    limit.timeout.connect(application.quit)
    limit.start(60_000)
    yield application
    limit.stop()


class Shown:
    """What a window drew."""

    def __init__(self, ask: Ask, when: Callable[[Any, AnswerView], object]) -> None:
        from rxstream.ui.qt import ChatWindow

        self.views: list[AnswerView] = []
        self.events: list[str] = []
        self.text = ""
        shown = self

        class Watched(ChatWindow):
            def draw(self, view: AnswerView) -> None:
                super().draw(view)
                shown.views.append(view)
                shown.events.append("view")
                shown.text = self.transcript.toPlainText()[self.answer_at :]
                when(self, view)

        self.window = Watched(ask, "toy")
        self.window.show()
        self.window.prompt.setText("Count!")
        self.window.button.click()


def close_when_over(window: Any, view: AnswerView) -> None:
    if view.is_over:
        window.close()


def test_a_burst_is_shown_whole_and_in_order_while_qt_has_its_turns(application: "QApplication") -> None:
    from PySide6.QtCore import QTimer

    with simulated(BURST) as (_, ask):
        shown = Shown(ask, close_when_over)
        timer = QTimer()
        timer.timeout.connect(lambda: shown.events.append("tick"))
        timer.start(1)
        application.exec()
        timer.stop()

    first, last = shown.events.index("view"), len(shown.events) - shown.events[::-1].index("view")
    assert shown.views[-1].phase is Phase.DONE
    assert shown.views[-1].text == "".join(PIECES)
    assert shown.text == "".join(PIECES)
    assert "tick" in shown.events[first:last]
    assert len(shown.views) < len(PIECES) / 10


def test_the_button_stops_the_answer_and_the_window_asks_again(application: "QApplication") -> None:
    def stop(window: Any, view: AnswerView) -> None:
        if view.text and not view.is_over:
            window.button.click()
        elif view.is_over and len(window.conversation.messages) < 4:
            window.prompt.setText("And on?")
            window.button.click()
        else:
            close_when_over(window, view)

    with simulated(ENDLESS) as (simulator, ask):
        shown = Shown(ask, stop)
        application.exec()

        assert [view.phase for view in shown.views if view.is_over] == [Phase.STOPPED] * 2
        assert simulator.requests_made == 2


def test_an_error_is_shown_and_the_window_goes_on(application: "QApplication") -> None:
    with simulated(Settings(script=Script(faults=(HttpError(status=401),)))) as (_, ask):
        shown = Shown(ask, close_when_over)
        application.exec()

    assert shown.views[-1].phase is Phase.FAILED
    assert shown.text == str(shown.views[-1].error)


def test_text_that_is_taken_back_disappears(application: "QApplication") -> None:
    def take_back(window: Any, view: AnswerView) -> None:
        if view.is_over and view.message.id:
            window.draw(AnswerView(message=AssembledMessage(text="No"), phase=Phase.DONE))
        else:
            close_when_over(window, view)

    with simulated(Settings(script=Script(text="Hi"))) as (_, ask):
        shown = Shown(ask, take_back)
        application.exec()

    assert shown.text == "No"


def test_closed_in_mid_stream_it_leaves_nothing(application: "QApplication") -> None:
    def close(window: Any, view: AnswerView) -> None:
        if view.text:
            window.close()

    with simulated(ENDLESS) as (simulator, ask):
        shown = Shown(ask, close)
        application.exec()
        on_background(simulator.connection_closed())

    assert not shown.views[-1].is_over
    assert simulator.requests[0].outcome == "client left"
