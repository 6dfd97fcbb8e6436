"""Answers side by side on a terminal: while they come the end of each, then all of them whole."""

import asyncio
from collections.abc import Sequence
from itertools import zip_longest
from typing import Protocol

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from rxstream.cli._live import LiveArea
from rxstream.cli._markdown import Row, printable
from rxstream.cli._rendered import DIM, FRAME, Sheet, console_for_answers
from rxstream.errors import StreamError
from rxstream.tokens import StreamToken, merge_deltas

NARROWEST = 24
"""Columns of the terminal that an answer needs at least."""
HEAD_ROWS = 3
BETWEEN = Segment(" │ ", DIM)
BOLD, RED = Style.parse("bold"), Style.parse("red")


class Contender(Protocol):
    """What a column is about."""

    name: str
    error: StreamError | None

    @property
    def head(self) -> str:
        """What is to be seen at a glance."""
        ...


def columns(contenders: Sequence[Contender]) -> "Columns | None":
    """Return columns for the contenders; `None` if this is no terminal for them, or too narrow a one."""
    console = console_for_answers()
    if console is None or _width(console, len(contenders)) < NARROWEST:
        return None
    return Columns(console, contenders)


class Columns:
    """Columns on a terminal, drawn at most fifteen times a second; leaving them leaves the whole answers there."""

    def __init__(self, console: Console, contenders: Sequence[Contender]) -> None:
        self._console = console
        self._area = LiveArea(console)
        self._width = _width(console, len(contenders))
        self._columns = [Column(self, console, contender) for contender in contenders]
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = 0.0

    def __enter__(self) -> "Columns":
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fit()
        self._area.show(self._rows(None))

    @property
    def width(self) -> int:
        """Of one column."""
        return self._width

    def column(self, contender: Contender) -> "Column":
        """Return the display of one of them."""
        return next(column for column in self._columns if column.contender is contender)

    def draw_soon(self) -> None:
        """Draw in time for the next frame."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._next_at, loop.time()), self._draw)

    def _draw(self) -> None:
        self._timer = None
        self._next_at = asyncio.get_running_loop().time() + FRAME.total_seconds()
        self._fit()
        self._area.show([], self._rows(max(1, self._console.height - HEAD_ROWS - 1)))

    def _fit(self) -> None:
        """Set everything again if the window has become wider or narrower."""
        width = max(1, _width(self._console, len(self._columns)))
        if width != self._width:
            self._width = width
            for column in self._columns:
                column.set_again()

    def _rows(self, most: int | None) -> list[Row]:
        """The heads and, beneath them, the last `most` rows of each, or all."""
        beside = [column.head() + column.rows(most) for column in self._columns]
        empty: Row = []
        return [self._joined(cells) for cells in zip_longest(*beside, fillvalue=empty)]

    def _joined(self, cells: Sequence[Row]) -> Row:
        joined: Row = []
        for cell in cells[:-1]:
            joined += [*Segment.adjust_line_length(cell, self._width), BETWEEN]
        return joined + Segment.adjust_line_length(cells[-1], self._width, pad=False)


class Column:
    """One answer among others."""

    frame = FRAME

    def __init__(self, among: Columns, console: Console, contender: Contender) -> None:
        self.contender = contender
        self._among, self._console = among, console
        self._tokens: list[StreamToken] = []
        self._has_ended = False
        self._begin()

    def _begin(self) -> None:
        self._sheet = Sheet(self._console, lambda: self._among.width, lambda: self._console.height - HEAD_ROWS - 1)
        self._settled: list[Row] = []

    def take(self, tokens: Sequence[StreamToken]) -> None:
        """Show what came with the next frame."""
        merged = merge_deltas(tokens)
        self._tokens += merged
        self._set(merged)
        self._among.draw_soon()

    def end(self) -> None:
        """Settle what is left."""
        self._has_ended = True
        self._set([])
        self._among.draw_soon()

    def fail(self, error: StreamError) -> None:
        """Leave it to the head, which asks the contender."""

    def set_again(self) -> None:
        """Set everything that came, for another width."""
        self._begin()
        self._set(merge_deltas(self._tokens))

    def head(self) -> list[Row]:
        """Return the name, the figures and a rule."""
        contender, width = self.contender, self._among.width
        style = RED if contender.error else DIM
        text = Text(printable(contender.head).replace("\n", " "), style=style)
        text.truncate(width, overflow="ellipsis")
        name = Text(printable(contender.name), style=BOLD)
        name.truncate(width, overflow="ellipsis")
        return [[Segment(name.plain, BOLD)], [Segment(text.plain, style)], [Segment("─" * width, DIM)]]

    def rows(self, most: int | None) -> list[Row]:
        """Return the last `most` rows, or all."""
        live = self._sheet.live_rows()
        if most is None:
            return self._settled + live
        return (self._settled[-most:] + live)[-most:]

    def _set(self, tokens: Sequence[StreamToken]) -> None:
        self._sheet.feed(tokens)
        if self._has_ended:
            self._sheet.flush()
        self._settled += self._sheet.take_settled()


def _width(console: Console, count: int) -> int:
    return (console.width - BETWEEN.cell_length * (count - 1)) // count
