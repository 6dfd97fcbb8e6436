"""Thinking that a model writes between tags into its text, told apart from it."""

from collections.abc import Callable

from reactivex import Observable

from rxstream.rx import lift
from rxstream.tokens import LogProbs, RawEvent, ReasoningDelta, StreamStart, StreamToken, TextDelta, UsageReport

_BESIDE = (StreamStart, LogProbs, UsageReport, RawEvent)
"""What says something about the text around it, but does not end it."""


def split_thinking(
    open: str = "<think>", close: str = "</think>", *, starts_inside: bool = False
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    r"""Turn what stands between `open` and `close` in the text into `ReasoningDelta`s, wherever the deltas are cut.

    The tags go, and nothing else: white space around them stays where it is, so text
    often begins with the `\n\n` that models write after the closing tag. Thinking does
    not nest: a second opening tag inside, like a closing tag outside, is text like
    any other. Thinking that is never closed goes on to the end of its block.

    With `starts_inside` each choice begins with thinking, for chat templates that write
    the opening tag into the prompt, such as DeepSeek-R1's; an opening tag that comes
    first all the same goes. An answer without a closing tag is then thinking to its end.

    Only what may still become a tag is held back, less than one tag for each block,
    until the next text, another token of the same choice or the end. Log
    probabilities, usage and raw events, which services send between two deltas of one
    text, pass it by. Blocks have tags of their own. A `Retract` counts the text that it
    was made for, so `guard` goes after this. Raises `ValueError` for an empty tag.
    """
    ThinkingSplitter(open, close)
    return lift(lambda: ThinkingSplitter(open, close, starts_inside=starts_inside))


class ThinkingSplitter:
    """Tokens in, tokens out, with thinking told apart from text: the machine of `split_thinking`."""

    def __init__(self, open: str = "<think>", close: str = "</think>", *, starts_inside: bool = False) -> None:
        if not open or not close:
            raise ValueError("a tag must not be empty")
        self._open, self._close = open, close
        self._starts_inside = starts_inside
        self._blocks: dict[tuple[int, int], _Block] = {}  # by index and choice
        self._block = _Block(-1, -1)  # the one written to last; at first one that no delta is of
        self._holds = False  # whether any block holds something back

    def feed(self, token: StreamToken) -> list[StreamToken]:
        if type(token) is not TextDelta:
            return [*self._released_by(token), token] if self._holds else [token]
        block = self._block
        if block.index != token.index or block.choice != token.choice:
            block = self._block = self._block_of(token)
        if not block.held and not block.is_new:
            if not block.is_inside:
                if self._open[0] not in token.text:  # the usual case
                    return [token]
            elif self._close[0] not in token.text:
                return [ReasoningDelta(token.text, token.index, token.choice)]
        return self._split(block, token.text)

    def flush(self) -> list[StreamToken]:
        return [delta for block in self._blocks.values() for delta in block.release()]

    def _block_of(self, token: TextDelta) -> "_Block":
        key = token.index, token.choice
        block = self._blocks.get(key)
        if block is None:
            is_first = all(choice != token.choice for _, choice in self._blocks)
            block = self._blocks[key] = _Block(*key, is_new=self._starts_inside and is_first)
        return block

    def _split(self, block: "_Block", text: str) -> list[StreamToken]:
        text, block.held = block.held + text, ""
        at = 0
        if block.is_new:
            if self._open != text and self._open.startswith(text):
                block.held = text
                self._holds = True
                return []
            block.is_new = False
            at = len(self._open) if text.startswith(self._open) else 0
        made: list[StreamToken] = []
        while (found := text.find(tag := self._close if block.is_inside else self._open, at)) >= 0:
            made += block.deltas(text[at:found])
            block.is_inside = not block.is_inside
            at = found + len(tag)
        end = len(text) - _beginning(tag, text, at)
        block.held = text[end:]
        self._holds = self._holds or bool(block.held)
        return made + block.deltas(text[at:end])

    def _released_by(self, token: StreamToken) -> list[StreamToken]:
        """What can't become a tag any more, since `token` comes in between."""
        if isinstance(token, _BESIDE):
            return []
        choice: int | None = getattr(token, "choice", None)
        made = [delta for block in self._blocks.values() if choice in {None, block.choice} for delta in block.release()]
        self._holds = any(block.held for block in self._blocks.values())
        return made


class _Block:
    """One content block of one choice."""

    __slots__ = ("choice", "held", "index", "is_inside", "is_new")

    def __init__(self, index: int, choice: int, *, is_new: bool = False) -> None:
        self.index, self.choice = index, choice
        self.is_inside = is_new
        self.is_new = is_new  # nothing has come yet, and an opening tag would go
        self.held = ""

    def deltas(self, text: str) -> list[StreamToken]:
        if not text:
            return []
        made = ReasoningDelta if self.is_inside else TextDelta
        return [made(text, self.index, self.choice)]

    def release(self) -> list[StreamToken]:
        held, self.held = self.held, ""
        self.is_new = self.is_new and not held
        return self.deltas(held)


def _beginning(tag: str, text: str, start: int) -> int:
    """How many characters at the end of `text`, from `start` at most, may be the beginning of `tag`."""
    longest = min(len(tag) - 1, len(text) - start)
    return next((length for length in range(longest, 0, -1) if text.endswith(tag[:length])), 0)
