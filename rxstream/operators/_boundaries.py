"""Where a word, a sentence, a line, a paragraph or a Markdown block ends in text that is still coming.

A finder is asked again each time that text was added, and looks at each character about
once. What it says depends on the text alone, never on how it came in pieces.
"""

import re
from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

from rxstream.operators._graphemes import is_between

Boundary: TypeAlias = Literal["word", "sentence", "line", "paragraph", "block"]

_HAN_OR_KANA = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_FULL_WIDTH_ENDS = "。！？"  # noqa: RUF001  # the signs themselves are meant
_ENDS = ".!?…" + _FULL_WIDTH_ENDS
_FULL_WIDTH_CLOSERS = "”’）」』】"  # noqa: RUF001
_CLOSERS = "\"')]}»*_" + _FULL_WIDTH_CLOSERS
_FULL_WIDTH_OPENERS = "“（「『【"  # noqa: RUF001
_OPENERS = "\"'([{«*_‘" + _FULL_WIDTH_OPENERS  # noqa: RUF001
_WORD = re.compile(
    rf"(?<=\S)(?=\s)|(?<=[{_HAN_OR_KANA}])(?=\w)|(?<=[\w、，；：{_FULL_WIDTH_ENDS}{_FULL_WIDTH_CLOSERS}])(?=[{_HAN_OR_KANA}])"  # noqa: RUF001
)
_ASCII_WORD = re.compile(r"\s(?<=\S\s)")  # the same where there is nothing else, and quicker
_SENTENCE = re.compile(
    rf"(?<=[{re.escape(_ENDS + _CLOSERS)}\n])(?:"  # most places are none for this alone
    rf"(?<!\n)(?=\s)|(?<=[{_FULL_WIDTH_ENDS + _FULL_WIDTH_CLOSERS}])(?=[\w{_FULL_WIDTH_OPENERS}])"
    r"|(?<=\n\n)|(?<=\n\r\n))"
)
_LINE = re.compile(r"(?<=\n)|(?<=\r)(?=[^\n])")
_FENCE = re.compile(r"[ \t]*(`{3,})[^`]*$|[ \t]*(~{3,})")
_BEFORE = 48
"""How many characters before a full stop are looked at."""
# Titles, ranks, references, months: what stands before a name or a number far more often than at an end.
_TITLES = "capt col dr gen gov hon jr lt messrs mr mrs ms mt prof rep rev sen sgt sr st"
_OTHERS = "al approx bzw ca cf co corp dept ed eq est etc fig inc ltd nos nr ph.d pp resp sec usw vol vs"
_MONTHS = "jan feb apr jun jul aug sep sept oct nov dec"
_ABBREVIATIONS = frozenset(f"{_TITLES} {_OTHERS} {_MONTHS}".split())


class Finder(Protocol):
    """Finds the places where text of one sort may be cut; places are counted in the text held."""

    def find(self, held: str, start: int, end: int) -> int | None:
        """Return the first boundary after `start` and up to `end`, if there is one.

        Cut there, or at `end`, before asking for the next.
        """
        ...

    def cut(self, held: str, place: int) -> None:
        """Take note that the text up to `place` has gone."""
        ...

    def drop(self, count: int) -> None:
        """Take note that the first `count` characters are not held any more."""
        ...


def finder(boundary: Boundary) -> Finder:
    """Return a finder of that kind; raise `ValueError` if there is none."""
    match boundary:
        case "word":
            return _PlaceFinder(_WORD, _is_whole, _ASCII_WORD)
        case "sentence":
            return _PlaceFinder(_SENTENCE, _is_sentence)
        case "line":
            return _PlaceFinder(_LINE, _any)
        case "paragraph" | "block":
            return _LineFinder(knows_fences=boundary == "block")
        case _:
            raise ValueError(f"there is no boundary {boundary!r}; there are word, sentence, line, paragraph and block")


class _PlaceFinder:
    """Boundaries that show from the characters around them: where a match of a pattern begins."""

    def __init__(
        self,
        pattern: re.Pattern[str],
        accepts: Callable[[str, int, int], bool],
        ascii_pattern: re.Pattern[str] | None = None,
    ) -> None:
        self._pattern, self._accepts = pattern, accepts
        self._ascii_pattern = ascii_pattern or pattern
        self._seen = 0  # before this there is none

    def find(self, held: str, start: int, end: int) -> int | None:
        at = max(self._seen, start + 1)
        pattern = self._ascii_pattern if held.isascii() else self._pattern
        while at <= end and (found := pattern.search(held, at, end + 1)):
            place = found.start()
            if place > end:
                break
            if self._accepts(held, start, place):
                self._seen = place
                return place
            at = place + 1
        self._seen = end
        return None

    def cut(self, held: str, place: int) -> None:  # noqa: ARG002  # as every finder is told
        self._seen = place

    def drop(self, count: int) -> None:
        self._seen = max(0, self._seen - count)


def _any(held: str, start: int, place: int) -> bool:  # noqa: ARG001  # as `_PlaceFinder` calls it
    return True


def _is_whole(held: str, start: int, place: int) -> bool:  # noqa: ARG001
    """Whether a grapheme ends at `place`; before it is no sign that would need more than the two to tell."""
    return is_between(held[place - 1 : place + 1], 1)


def _is_sentence(held: str, start: int, place: int) -> bool:
    if held[place - 1] == "\n":  # a blank line: a heading may end without a full stop
        return not held[start:place].isspace()
    said = held[max(start, place - _BEFORE) : place].rstrip(_CLOSERS)
    if not said or said[-1] not in _ENDS or not _is_whole(held, start, place):
        return False
    if not held[place].isspace():
        return said[-1] in _FULL_WIDTH_ENDS
    return not said.endswith(".") or said.endswith("..") or not _is_abbreviated(said)


def _is_abbreviated(said: str) -> bool:
    """Whether the full stop at the end of `said` belongs to an abbreviation, initials or the number of an item."""
    said = said[:-1]
    word = re.split(r"\s", said)[-1]
    if word.isdecimal():
        return said[: -len(word)].rpartition("\n")[2].strip() == ""
    word = word.lstrip(_OPENERS)
    parts = word.split(".")
    return word.lower() in _ABBREVIATIONS or (all(len(part) == 1 for part in parts) and word[0].isalpha())


class _LineFinder:
    """Boundaries that show at the end of a line."""

    def __init__(self, *, knows_fences: bool) -> None:
        self._knows_fences = knows_fences
        self._seen = 0
        self._line = 0  # where the line begins that has not ended yet
        self._head = ""  # the beginning of that line, if it has gone already
        self._has_text = False  # whether anything but white space came since the last boundary
        self._fence = ""  # what opened the code block that we are in

    def find(self, held: str, start: int, end: int) -> int | None:
        while (newline := held.find("\n", max(self._seen, start), end)) >= 0:
            line = self._head + held[self._line : newline]
            if self._has_text and not self._fence and self._opened_by(line):
                self._seen = newline
                return self._line
            is_end = self._is_end(line)
            self._line = self._seen = newline + 1
            self._head = ""
            if is_end:
                return self._line
        self._seen = end
        return None

    def cut(self, held: str, place: int) -> None:
        self._has_text = False
        if place > self._line:
            self._head = (self._head + held[self._line : place])[:_BEFORE]
            self._line = place
        self._seen = max(self._seen, place)

    def drop(self, count: int) -> None:
        self._seen = max(0, self._seen - count)
        self._line -= count

    def _is_end(self, line: str) -> bool:
        """Take a whole line; return whether a boundary is behind it."""
        if self._fence:
            closing = line.strip()
            if closing.startswith(self._fence) and not closing.strip(self._fence[0]):
                self._fence = ""
                return True
            self._has_text = True
            return False
        self._fence = self._opened_by(line)
        if line and not line.isspace():
            self._has_text = True
            return False
        return self._has_text

    def _opened_by(self, line: str) -> str:
        """The fence of the code block that `line` opens."""
        fence = _FENCE.match(line) if self._knows_fences else None
        return (fence[1] or fence[2]) if fence else ""
