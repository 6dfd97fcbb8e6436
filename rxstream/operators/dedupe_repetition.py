"""An answer that ends where it has begun to say the same thing for ever."""

from collections.abc import Callable

import msgspec
from reactivex import Observable

from rxstream.operators._ending import ChoiceEnder, until_ended
from rxstream.tokens import FinishReason, Json, ReasoningDelta, RefusalDelta, StreamToken, TextDelta


def dedupe_repetition(
    *, times: int = 10, min_length: int = 100, max_length: int = 500, times_without_letters: int = 40
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """End an answer that runs in a loop: the same phrase, or the same line, `times` in a row.

    A phrase has `min_length` to `max_length` characters. A shorter one counts by the phrase that its
    repetitions make: "no " is a loop once it fills `times * min_length` characters. So does a
    line that comes again and again. Between the repetitions there must be nothing else.

    What has no letter in it, such as a ruler, a table of zeros, indentation or most drawings, has to come
    `times_without_letters` in a row. With the defaults a loop is at least 1,000 characters, or 4,000 without
    letters, none of which is different: tables, code and drawings of usual size are shorter, or
    differ from line to line.

    Text, refusals and thinking are looked at, each block by itself, every `min_length // 2` characters, so a
    loop is noticed at most that much late and always at the same place, wherever the deltas are
    cut. There the answer ends: open calls as `ToolCallTruncated`, and a `StreamEnd` with `FinishReason.OTHER` and
    `details={"repetition": {"characters": ..., "times": ...}}`, the length of the phrase and how often it was
    met. What was given is not taken back, and nothing is ever held back. Each choice ends by itself, and the source is
    let go of when every choice that has begun has ended.

    Keeps the last `max_length` times the larger of the two numbers of characters, 20,000 by default, of
    each block that is being written. Raises `ValueError` for a number of times below 2 or lengths that are none.
    """
    if min(times, times_without_letters) < 2:
        raise ValueError(f"a phrase is repeated from 2 times on, not {min(times, times_without_letters)}")
    if not 2 <= min_length <= max_length:
        raise ValueError(f"a phrase must have from 2 up to some larger number of characters, not {min_length}")
    return until_ended(lambda: _NoLoops(lambda: _Loops(times, min_length, max_length, times_without_letters)))


class _Loops:
    """Finds the place where one text has become a loop."""

    def __init__(self, times: int, min_length: int, max_length: int, times_without_letters: int) -> None:
        self._times, self._times_without_letters = times, times_without_letters
        self._min_length, self._max_length = min_length, max_length
        self._window = max_length * max(times, times_without_letters)
        self._step = min_length // 2
        self._seen = ""
        self._new: list[str] = []
        self._until_look = self._step

    def feed(self, text: str) -> tuple[int, int, int] | None:
        """Take the next piece; return where in it a loop is certain, how long its phrase is and how often it came."""
        size = len(text)
        if size < self._until_look:  # the usual case
            self._new.append(text)
            self._until_look -= size
            return None
        at = 0
        while size - at >= self._until_look:
            end = at + self._until_look
            self._new.append(text[at:end])
            at = end
            self._seen = (self._seen + "".join(self._new))[-self._window :]
            self._new.clear()
            self._until_look = self._step
            if (loop := self._loop()) is not None:
                return at, *loop
        self._new.append(text[at:])
        self._until_look -= size - at
        return None

    def _loop(self) -> tuple[int, int] | None:
        """The length of the phrase that the text so far ends in again and again, and how often it has come."""
        seen = self._seen
        size = len(seen)
        if size < min(self._times, self._times_without_letters) * self._min_length:
            return None
        before = size - self._min_length
        place = seen.rfind(seen[before:], max(0, before - self._max_length), size - 1)
        if place < 0:
            return None
        period = before - place
        has_letters = any(character.isalpha() for character in seen[-period:])
        length = max(period, self._min_length) * (self._times if has_letters else self._times_without_letters)
        if size < length or seen[-length:-period] != seen[period - length :]:
            return None
        return period, length // period


class _NoLoops(ChoiceEnder):
    """Tokens in, tokens out up to where a block of each choice has become a loop, and then `None`."""

    reason = FinishReason.OTHER

    def __init__(self, make: Callable[[], _Loops]) -> None:
        super().__init__()
        self._make = make
        self._blocks: dict[int, tuple[type[StreamToken], int, _Loops]] = {}  # by choice: the one being written

    def _look_at(self, token: StreamToken) -> tuple[list[StreamToken], dict[str, Json] | None]:
        if not isinstance(token, TextDelta | ReasoningDelta | RefusalDelta) or not token.text:
            return [token], None
        loop = self._loops(token).feed(token.text)
        if loop is None:
            return [token], None
        end, characters, times = loop
        given = token if end == len(token.text) else msgspec.structs.replace(token, text=token.text[:end])
        return [given], {"repetition": {"characters": characters, "times": times}}

    def _loops(self, token: TextDelta | ReasoningDelta | RefusalDelta) -> _Loops:
        """What looks at the block of `token`."""
        kind, index = type(token), 0 if isinstance(token, RefusalDelta) else token.index
        block = self._blocks.get(token.choice)
        if block is None or block[0] is not kind or block[1] != index:
            block = self._blocks[token.choice] = kind, index, self._make()
        return block[2]
