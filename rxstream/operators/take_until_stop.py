"""An answer that ends before a stop sequence, where the service knows none or not enough of them."""

from collections.abc import Callable, Sequence

from reactivex import Observable

from rxstream.operators._ending import ChoiceEnder, until_ended
from rxstream.operators._matching import BlockFilter, Folding, Rules, Terms
from rxstream.tokens import FinishReason, Json, StreamToken


def take_until_stop(sequences: Sequence[str]) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """End an answer before the first of `sequences` in its visible text, wherever the deltas are cut.

    Sequences are taken literally. Text is held back only while it may still become one.
    Then the answer ends as a service would end it: open calls as `ToolCallTruncated`, and a
    `StreamEnd` with `FinishReason.STOP`, no word of the service's own and `details={"stop_sequence": ...}`.
    Each choice ends by itself, and what still comes of it is left out. The source is let go
    of when every choice that has begun has ended, so a service's `UsageReport`, which usually comes last,
    is lost; `take_until_stop(...)` followed by `count_tokens(...)` gives one.

    Thinking and tool calls are not looked at, and no sequence reaches over the end of a
    block. Raises `ValueError` for an empty sequence, or none.
    """
    rules = _rules(sequences)
    return until_ended(lambda: _TextStop(rules))


def _rules(sequences: Sequence[str]) -> Rules:
    if isinstance(sequences, str):
        raise TypeError("stop sequences are given as a list: a text alone would be one of characters")
    if not sequences:
        raise ValueError("there must be a stop sequence")
    # What begins with another sequence is never met before it.
    needed = [word for word in dict.fromkeys(sequences) if not word.startswith(tuple(set(sequences) - {word}))]
    return Rules([Terms(((word, word) for word in needed), whole_words=False)], Folding())


class _TextStop(ChoiceEnder):
    """Tokens in, tokens out up to the stop sequence of each choice, and then `None`."""

    reason = FinishReason.STOP

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self._text = _BeforeStop(rules)

    def flush(self) -> list[StreamToken | None]:
        made = self._text.flush()
        ends = [end for met in self._text.met for end in self.end(met.choice, {"stop_sequence": met.rule})]
        return [*made, *ends]

    def fail(self, _: Exception) -> list[StreamToken | None]:
        return [*self._text.flush()]

    def _look_at(self, token: StreamToken) -> tuple[list[StreamToken], dict[str, Json] | None]:
        made = self._text.feed(token)
        if not self._text.met:
            return made, None
        return made, {"stop_sequence": self._text.met.pop().rule}


class _BeforeStop(BlockFilter):
    """Tokens in, tokens out: of each block what is before a stop sequence."""

    def _replace(self, found: str, rule: str) -> None:
        """Want nothing more."""
