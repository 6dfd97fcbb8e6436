r"""Where text may be cut: between two graphemes, what a reader takes for two characters.

An accent, the parts of a joined emoji, the two halves of a flag, the letters of a Korean
syllable and CR LF stay together, by the rules of Unicode's UAX #29, which `regex` knows
as `\X` and keeps up to date. Whether there is a grapheme's end depends on what was
before and on one character after, so the last grapheme of a text is never sure to be
whole while more may come.
"""

from functools import cache
from typing import Protocol, cast

LONGEST = 256
"""Code points that are kept together at most: some scripts stack a dozen marks on a letter, nobody hundreds."""


class _Pattern(Protocol):
    """What is used of a compiled pattern of `regex`, which has no types of its own."""

    def findall(self, string: str, /) -> list[str]: ...


@cache
def _grapheme() -> _Pattern:
    import regex

    return cast(_Pattern, regex.compile(r"\X"))


def is_between(text: str, place: int) -> bool:
    """Whether a grapheme ends at `place`, which is inside `text`, if `text` begins with one."""
    before, after = text[place - 1], text[place]
    if before < "\x7f" and after < "\x7f":
        return before != "\r" or after != "\n"
    last = _grapheme().findall(text[: place + 1])[-1]
    return len(last) == 1 or len(last) > LONGEST


def last_start(text: str) -> int:
    """Return where the last grapheme of `text` begins; its end, if that one is too long to wait for."""
    if len(text) > 1 and text[-1] < "\x7f" and text[-2] < "\x7f" and text[-2:] != "\r\n":
        return len(text) - 1
    last = _grapheme().findall(text)[-1] if text else ""
    return len(text) - len(last) if len(last) <= LONGEST else len(text)


def first_end(text: str, least: int) -> int | None:
    """Return the first place from `least` on that is between two graphemes; `None` if it is not there yet."""
    for place in range(least, min(len(text), least + LONGEST)):
        if is_between(text, place):
            return place
    return least + LONGEST if len(text) > least + LONGEST else None
