"""For programs with windows: an answer as a value to draw, and chat windows to run and to copy from.

    python -m rxstream.ui.tk         Tk, of the standard library
    python -m rxstream.ui.qt         Qt: pip install 'rxstream[qt]'
    python -m rxstream.ui.textual    in the terminal: pip install 'rxstream[textual]'

Each window is one file, and the only one to import its toolkit. What they share is here:
`show` draws one stream, a `Conversation` turn after turn.
"""

from rxstream.ui.conversation import Ask, Conversation
from rxstream.ui.show import show
from rxstream.ui.view import Answer, AnswerView, Phase, Span, added

__all__ = ["Answer", "AnswerView", "Ask", "Conversation", "Phase", "Span", "added", "show"]
