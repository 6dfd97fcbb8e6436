"""An answer on a terminal: Markdown set while it streams, thinking, calls and sources around it."""

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.theme import Theme

from rxstream.cli._live import LiveArea
from rxstream.cli._markdown import Row, Typesetter, markdown_rows, printable, thought_rows
from rxstream.errors import StreamError
from rxstream.tokens import (
    Citation,
    Media,
    ReasoningDelta,
    RefusalDelta,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallStart,
    ToolCallTruncated,
    merge_deltas,
)

FRAME = timedelta(seconds=1 / 15)
LONGEST_CALL = 600
"""Characters of a call's arguments that are shown."""
MOST_ROWS = 40
"""Rows that are drawn again with each frame, on a screen that has more."""
DIM, CALL, BROKEN = Style.parse("dim"), Style.parse("cyan"), Style.parse("red")

THEME = Theme(
    {
        **dict.fromkeys((f"markdown.h{level}" for level in range(2, 7)), "bold"),
        "markdown.h1": "bold underline",
        "markdown.code": "cyan",  # the terminal's own colours on its own background, be it dark or light
        "markdown.block_quote": "italic",
        "markdown.item.number": "bold",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
        "markdown.link": "bold",
        "markdown.link_url": "underline",
    }
)


def console_for_answers() -> Console | None:
    """Return the terminal that standard output is, if it can do what is needed; otherwise `None`."""
    console = Console(file=sys.stdout, highlight=False, theme=THEME)
    if not console.is_terminal or not sys.stdout.isatty() or console.is_dumb_terminal or console.legacy_windows:
        return None
    return console


class Sheet:
    """Tokens in, rows out: the parts of an answer in the order in which they came."""

    def __init__(self, console: Console, width: Callable[[], int], most_rows: Callable[[], int]) -> None:

        def text(source: str) -> list[Row]:
            return markdown_rows(console, width(), source)

        def thought(source: str) -> list[Row]:
            return thought_rows(console, width(), source)

        self._renders = {"text": text, "thought": thought}
        self._most_rows = most_rows
        self._part = ""
        self._setter: Typesetter | None = None
        self._calls: dict[str, str] = {}  # under way: the names of what is called, by key
        self._sources: list[Citation] = []
        self._settled: list[Row] = []
        self._has_rows = False
        self._needs_space = False

    def feed(self, tokens: Sequence[StreamToken]) -> None:
        """Take tokens."""
        for token in merge_deltas(tokens):
            self._take(token)

    def flush(self) -> None:
        """Settle everything: no more comes."""
        for name in self._calls.values():
            self._add_row("call", f"✗ {name} was cut short", BROKEN)
        self._calls.clear()
        for number, source in enumerate(self._sources, 1):
            said = " ".join(part for part in (source.title, source.url) if part)
            self._add_row("source", f"[{number}] {said or source.text or 'a source without a name'}", DIM)
        self._sources.clear()
        self._begin("")

    def take_settled(self) -> list[Row]:
        """Return the rows that were settled since the last time."""
        rows, self._settled = self._settled, []
        return rows

    def live_rows(self) -> list[Row]:
        """Return the rows that may still change."""
        rows = self._spaced(self._setter.open_rows()) if self._setter else []
        calls = [_row(f"→ {name} …", DIM) for name in self._calls.values()]
        if calls and (rows or (self._has_rows and self._part != "call")):
            rows.append([])
        return rows + calls

    def _take(self, token: StreamToken) -> None:
        match token:
            case TextDelta(choice=0) | RefusalDelta(choice=0):
                self._set("text", token.text)
            case ReasoningDelta(choice=0):
                self._set("thought", token.text)
            case ToolCallStart(choice=0):
                self._calls[token.key] = _shortened(token.name)
            case ToolCall() if self._calls.pop(token.key, None) is not None:
                self._add_row("call", f"→ {token.function.name}({_shortened(token.function.arguments)})", CALL)
            case ToolCallTruncated() if self._calls.pop(token.key, None) is not None:
                self._add_row("call", f"✗ {token.name}({_shortened(token.arguments)} was cut short", BROKEN)
            case Citation(choice=0):
                if not any((token.url, token.title) == (known.url, known.title) for known in self._sources):
                    self._sources.append(token)
            case Media(choice=0):
                self._add_row("media", f"({token.media_type}, {len(token.data):,} bytes)", DIM)
            case _:
                return  # the figures are for the end

    def _set(self, part: str, text: str) -> None:
        if text and (setter := self._begin(part)):
            self._add(setter.feed(text))

    def _begin(self, part: str) -> Typesetter | None:
        """Begin a part of the answer, unless it goes on: settle what came before it."""
        if part != self._part:
            if self._setter is not None:
                self._add(self._setter.flush())
            self._setter = Typesetter(self._renders[part], self._most_rows) if part in self._renders else None
            self._part, self._needs_space = part, self._has_rows
        return self._setter

    def _add_row(self, part: str, text: str, style: Style) -> None:
        self._begin(part)
        self._add([_row(text, style)])

    def _add(self, rows: list[Row]) -> None:
        if rows:
            self._settled += self._spaced(rows)
            self._has_rows, self._needs_space = True, False

    def _spaced(self, rows: list[Row]) -> list[Row]:
        return [[], *rows] if rows and self._needs_space else rows


class Rendered:
    """An answer set on a terminal: at most fifteen frames a second, each of what came since the last."""

    frame = FRAME

    def __init__(self, console: Console) -> None:
        self._area = LiveArea(console)
        self._sheet = Sheet(console, lambda: console.width, lambda: min(console.height - 2, MOST_ROWS))
        self._area.show([], [_row("…", DIM)])

    def take(self, tokens: Sequence[StreamToken]) -> None:
        """Show one frame."""
        self._sheet.feed(tokens)
        self._area.show(self._sheet.take_settled(), self._sheet.live_rows())

    def end(self) -> None:
        """Leave the whole answer on the screen, and the cursor beneath it."""
        self._sheet.flush()
        self._area.show(self._sheet.take_settled())

    def fail(self, error: StreamError) -> None:
        """Leave it to whoever asked."""


def _row(text: str, style: Style) -> Row:
    return [Segment(printable(text).replace("\n", " "), style)]


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_CALL else f"{text[:LONGEST_CALL]}…"
