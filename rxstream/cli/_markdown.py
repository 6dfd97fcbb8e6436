"""Markdown to rows of a terminal while it grows, at a cost that follows its length.

A block (a paragraph, a list, a fence of code) is settled once a whole line of the next one
is there: its rows can't change any more and are never looked at again. A block that outgrows
the screen is settled from its beginning on, at a row where that can't be seen. So a frame
costs no more than a screen does, however long the answer has become.
"""

import re
from collections.abc import Callable
from typing import ClassVar, TypeAlias

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text

Row: TypeAlias = list[Segment]

WIDEST = 100
"""Columns; longer lines are hard to read."""
PIECE = 4096
"""The most characters looked at in one go: what comes faster is settled in between."""
LARGEST = 8192
"""Characters after which a block is cut even where it shows."""
TRIES = 6
"""Rows tried before a block is left to grow."""

# HTML is not for terminals, and `vector<int>` is none: without the rule, it is text like any other.
PARSER = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")
BLOCKS = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["inline", "text_join"])
"""Finds where blocks begin and looks no further."""

# What a terminal would obey: escape sequences from a model, or from whoever wrote what it repeats, are only shown.
CONTROLS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"} | {
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
    ord("\r"): "",  # before a line's end it says nothing, and alone it would write over the line
}
CODE_THEME = "ansi_dark"
"""The terminal's own colours, which its owner can read."""


def printable(text: str) -> str:
    """Return `text` with marks in place of control characters, and with plain line ends."""
    return text.translate(CONTROLS)


class _Code(CodeBlock):
    """Code as it would be copied: no frame, no margin, no background."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip("\n")
        yield Syntax(code, self.lexer_name, theme=CODE_THEME, background_color="default", word_wrap=True)


class _Heading(Heading):
    """A heading where reading begins: on the left."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Answer(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
        "heading_open": _Heading,
    }

    def __init__(self, markup: str) -> None:
        # Addresses are shown: not every terminal can open a link, and a link may be called what it is not.
        super().__init__("", hyperlinks=False)
        self.markup, self.parsed = markup, PARSER.parse(markup)


def markdown_rows(console: Console, width: int, source: str) -> list[Row]:
    """Return the rows of Markdown."""
    return _rows(console, width, _Answer(source))


def thought_rows(console: Console, width: int, source: str) -> list[Row]:
    """Return the rows of thinking: dim, and as it is, since nobody writes it to be read."""
    return _rows(console, width, Text(source.strip("\n"), style="dim italic"))


def _rows(console: Console, width: int, what: RenderableType) -> list[Row]:
    options = console.options.update(width=max(1, min(width, WIDEST)), height=None)
    rows = [_trimmed(row) for row in console.render_lines(what, options, pad=False)]
    first = next((number for number, row in enumerate(rows) if row), len(rows))
    last = next((number for number, row in enumerate(reversed(rows)) if row), 0)
    return rows[first : len(rows) - last]


def _trimmed(row: Row) -> Row:
    """The row without the spaces that only fill it up: they would wrap when the window gets narrower."""
    left = list(Segment.simplify(row))
    while left:
        text, style, _ = left[-1]
        if (style and (style.bgcolor or style.underline or style.reverse)) or not text.endswith(" "):
            break
        left.pop()
        if stripped := text.rstrip(" "):
            left.append(Segment(stripped, style))
    return left


class Typesetter:
    """Text in, rows out: each settled once and for all, those that may still change on request.

    `render` gives the rows of a source, and may give others when the window has changed; of those
    that may change there are about `most_rows` at most.
    """

    def __init__(self, render: Callable[[str], list[Row]], most_rows: Callable[[], int]) -> None:
        self._render = render
        self._most_rows = most_rows
        self._open = ""
        self._needs_space = False  # before the next row goes an empty one

    def feed(self, text: str) -> list[Row]:
        """Take more text; return the rows that it settled."""
        settled: list[Row] = []
        for start in range(0, len(text), PIECE):
            self._open += printable(text[start : start + PIECE])
            settled += self._settle_blocks()
            while cut := self._settle_rows():
                settled += cut
        return settled

    def open_rows(self) -> list[Row]:
        """Return the rows that may still change."""
        rows = self._render(self._open)
        return self._spaced(rows)

    def flush(self) -> list[Row]:
        """Settle what is left, at the end of the text."""
        rows = self.open_rows()
        self._open = ""
        return rows

    def _spaced(self, rows: list[Row]) -> list[Row]:
        return [[], *rows] if rows and self._needs_space else rows

    def _settle_blocks(self) -> list[Row]:
        """Settle the blocks that are whole."""
        whole_lines = self._open[: self._open.rfind("\n") + 1]
        lines = self._open.split("\n")  # and nowhere else: Markdown knows no other line ends
        starts = [begin for begin, _ in _blocks(whole_lines)]
        settled: list[Row] = []
        for begin, end in zip([0, *starts[1:-1]], starts[1:], strict=True) if len(starts) > 1 else ():
            rows = self._spaced(self._render("\n".join(lines[begin:end])))
            self._needs_space |= bool(rows)
            settled += rows
        if len(starts) > 1:
            self._open = "\n".join(lines[starts[-1] :])
        return settled

    def _settle_rows(self) -> list[Row]:
        """Settle the beginning of a block that is longer than the screen; nothing if it isn't, or can't be cut."""
        rows, most = self._render(self._open), max(2, self._most_rows())
        if len(rows) <= most:
            return []
        wanted = len(rows) - most // 2
        for count in range(wanted, max(0, wanted - TRIES), -1):
            head, tail = _cut(self._open, _words(rows[:count]))
            if head and tail and self._render(head) == rows[:count] and self._render(tail) == rows[count:]:
                return self._settle(rows[:count], tail)
        if len(self._open) <= LARGEST:
            return []
        head, tail = _cut(self._open, len(self._open.split()) // 2)
        if not head or not tail:  # one endless word
            head, tail = self._open[: LARGEST // 2], self._open[LARGEST // 2 :]
        return self._settle(self._render(head), tail)

    def _settle(self, rows: list[Row], tail: str) -> list[Row]:
        rows = self._spaced(rows)
        self._open, self._needs_space = tail, False
        return rows


def _words(rows: list[Row]) -> int:
    return sum(len("".join(segment.text for segment in row).split()) for row in rows)


def _blocks(source: str) -> list[tuple[int, str]]:
    """Where the blocks of Markdown begin, as numbers of lines, and what they are."""
    return [
        (token.map[0], token.type)
        for token in BLOCKS.parse(source)
        if token.level == 0 and token.nesting >= 0 and token.map
    ]


def _cut(source: str, words: int) -> tuple[str, str]:
    """Cut the source of a block after so many words, so that both parts are blocks like it."""
    kind = next((kind for _, kind in _blocks(source)), "")
    first, _, rest = source.partition("\n")
    if kind == "fence":
        head, tail = _cut_lines(rest, words)
        return f"{first}\n{head}\n{first[: len(first) - len(first.lstrip(' `~'))]}", f"{first}\n{tail}" if tail else ""
    if kind == "table_open":
        second, _, rest = rest.partition("\n")
        head, tail = _cut_lines(rest, words - len(first.split()))
        return f"{first}\n{second}\n{head}", f"{first}\n{second}\n{tail}" if tail else ""
    end = _end_of(source, words)
    return source[:end], source[end:].lstrip(" ").removeprefix("\n")


def _cut_lines(source: str, words: int) -> tuple[str, str]:
    head, newline, tail = source[(end := _end_of(source, words)) :].partition("\n")
    return source[:end] + head, tail if newline else ""


def _end_of(source: str, words: int) -> int:
    """Where the word of that number ends."""
    end = 0
    for number, word in enumerate(re.finditer(r"\S+", source), 1):
        if number > words:
            break
        end = word.end()
    return end
