"""A chat window in Qt, to run and to copy from: `python -m rxstream.ui.qt [-m PROVIDER:MODEL]`."""

import sys
from collections.abc import Sequence

from PySide6 import QtCore
from PySide6.QtGui import QCloseEvent, QColor, QFont, QTextBlockFormat, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QApplication, QGridLayout, QLabel, QLineEdit, QPushButton, QTextEdit, QWidget

from rxstream.schedulers import QtScheduler
from rxstream.ui.conversation import Ask, Conversation
from rxstream.ui.program import answerer
from rxstream.ui.view import AnswerView, Kind, Span, added

INK, SOFT, ACCENT, ALARM = "#1f2430", "#7a8194", "#3b5bdb", "#c92a2a"
COLOURS = {"question": ACCENT, "reasoning": SOFT, "call": ACCENT, "error": ALARM}
MARGIN = 22
STYLE = f"""
QWidget {{ background: white; color: {INK}; font-size: 15px; }}
QTextEdit {{ border: none; border-bottom: 1px solid #e3e6ee; }}
QLineEdit {{ border: 1px solid #ccd2e0; border-radius: 8px; padding: 9px 12px; margin: 5px 0 0 {MARGIN}px; }}
QLineEdit:focus {{ border-color: {ACCENT}; }}
QPushButton {{ background: {ACCENT}; color: white; border: none; border-radius: 8px; padding: 10px 24px; }}
QPushButton {{ margin: 5px {MARGIN}px 0 0; }}
QPushButton:hover {{ background: #2f49b5; }}
QLabel {{ color: {SOFT}; font-size: 13px; margin-left: {MARGIN}px; }}
QScrollBar:vertical {{ width: 8px; }}
QScrollBar::handle:vertical {{ background: #d5d9e4; border-radius: 4px; min-height: 24px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; }}
"""


class ChatWindow(QWidget):
    """A window that asks and shows the answer as it comes."""

    def __init__(self, ask: Ask, name: str) -> None:
        super().__init__()
        self.conversation = Conversation(ask, self.draw, scheduler=QtScheduler(QtCore))
        self.shown: list[Span] = []
        """What is drawn of the answer."""
        self.answer_at = 0
        """Where the answer begins in the document."""
        self.setWindowTitle(f"rxstream · {name}")
        self.setStyleSheet(STYLE)
        self.resize(680, 560)
        self.transcript = QTextEdit(readOnly=True)
        self.transcript.document().setDocumentMargin(MARGIN)
        self.prompt = QLineEdit(placeholderText="Ask something")
        self.button = QPushButton("Ask", autoDefault=False)
        self.status = QLabel(f"{name} answers")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 12)
        grid.addWidget(self.transcript, 0, 0, 1, 2)
        grid.addWidget(self.prompt, 1, 0)
        grid.addWidget(self.button, 1, 1)
        grid.addWidget(self.status, 2, 0, 1, 2)
        self.prompt.returnPressed.connect(self.send)
        self.button.clicked.connect(self.press)
        self.prompt.setFocus()

    def press(self) -> None:
        """Ask, or stop what is being answered."""
        if self.conversation.is_answering:
            self.conversation.stop()
        else:
            self.send()

    def send(self) -> None:
        """Ask what the user wrote."""
        question = self.prompt.text().strip()
        if question and not self.conversation.is_answering:
            self.prompt.clear()
            self.write([Span("question", question)], paragraph(above=20, below=8))
            self.write([], paragraph(above=0, below=0))
            self.answer_at = self.end().position()
            self.shown = []
            self.conversation.ask(question)

    def draw(self, view: AnswerView) -> None:
        """Show the answer so far: what is new of it, if it only grew."""
        spans = view.spans()
        news = added(self.shown, spans)
        if news is None:
            cursor = self.end()
            cursor.setPosition(self.answer_at, QTextCursor.MoveMode.KeepAnchor)
            cursor.removeSelectedText()
            news = spans
        self.shown = spans
        self.write(news)
        self.status.setText(view.status)
        self.button.setText("Ask" if view.is_over else "Stop")

    def write(self, spans: Sequence[Span], paragraph: QTextBlockFormat | None = None) -> None:
        """Append text, in a new paragraph or the last one, and follow it if the end is in sight."""
        scrollbar = self.transcript.verticalScrollBar()
        is_at_end = scrollbar.value() >= scrollbar.maximum() - 4
        cursor = self.end()
        cursor.beginEditBlock()
        if paragraph is not None:
            if cursor.position():
                cursor.insertBlock()
            cursor.setBlockFormat(paragraph)
        for span in spans:
            cursor.insertText(span.text, looks(span.kind))
        cursor.endEditBlock()
        if is_at_end:
            scrollbar.setValue(scrollbar.maximum())

    def end(self) -> QTextCursor:
        """Return a cursor at the end of the document."""
        cursor = QTextCursor(self.transcript.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        return cursor

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802  # Qt's name
        """Close the connection if an answer is on its way."""
        self.conversation.close()
        super().closeEvent(event)


def paragraph(*, above: int, below: int) -> QTextBlockFormat:
    """Return how a paragraph stands, with so many pixels above and below it."""
    block = QTextBlockFormat()
    block.setTopMargin(above)
    block.setBottomMargin(below)
    block.setLineHeight(125, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
    return block


def looks(kind: Kind) -> QTextCharFormat:
    """Return how text of this kind looks."""
    text = QTextCharFormat()
    text.setForeground(QColor(COLOURS.get(kind, INK)))
    text.setFontItalic(kind == "reasoning")
    text.setFontWeight(QFont.Weight.DemiBold if kind == "question" else QFont.Weight.Normal)
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Open the window; return when it is closed."""
    application = QApplication(sys.argv[:1])
    with answerer("rxstream.ui.qt", arguments) as who:
        window = ChatWindow(who.ask, who.name)
        window.show()
        application.exec()


if __name__ == "__main__":
    main()
