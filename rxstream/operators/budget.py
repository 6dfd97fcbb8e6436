"""No more than so many tokens of an answer."""

from collections.abc import Callable

import msgspec
from reactivex import Observable

from rxstream.operators._ending import OpenAnswer, until_ended
from rxstream.tokenizer import AnswerCounter, Encoding, Vocabulary, vocabulary
from rxstream.tokens import FinishReason, ReasoningDelta, RefusalDelta, StreamToken, TextDelta, ToolCallDelta


def budget(
    max_tokens: int,
    encoding: Vocabulary | Encoding | str | None = None,
    *,
    model: str | None = None,
    provider: str | None = None,
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """End an answer after `max_tokens` tokens of what the model wrote, and let go of its source.

    Text, thinking, refusals and tool calls all count, of all choices together. The
    delta that goes over is cut at a token. Then the answer ends as a service would end
    it: open calls as `ToolCallTruncated`, and for each choice that had begun and not
    ended a `StreamEnd` with `FinishReason.LENGTH`, no word of the service's own and
    `details={"budget": max_tokens}`. A whole `ToolCall` that does not fit is left out.
    An answer of exactly `max_tokens` ends as it would.

    The service's own `UsageReport` usually comes last, so it is lost where the budget
    ends the stream; `budget(...)` followed by `count_tokens(...)` gives one.

    The other arguments are those of `count_tokens`. Raises `ValueError` for less than 1.
    """
    if max_tokens < 1:
        raise ValueError(f"the budget must be at least 1, not {max_tokens}")
    chosen = vocabulary(encoding, model=model, provider=provider)

    return until_ended(lambda: _Budget(max_tokens, chosen))


class _Budget:
    """Gives tokens, and `None` once the budget is spent."""

    def __init__(self, max_tokens: int, chosen: Vocabulary) -> None:
        self._max_tokens = max_tokens
        self._counter = AnswerCounter(chosen)
        self._answer = OpenAnswer()

    def feed(self, token: StreamToken) -> list[StreamToken | None]:
        text = self._counter.new_text(token)
        if text and (fitting := self._counter.fitting(token, self._max_tokens)) != text:
            return self._end(token, fitting)
        self._answer.note(token)
        return [token]

    def flush(self) -> list[StreamToken | None]:
        return []

    def _end(self, token: StreamToken, fitting: str) -> list[StreamToken | None]:
        """What of `token` is still given, and the end of the answer."""
        self._answer.begin(token)
        begun = self._begun(token, fitting)
        for given in begun:
            self._answer.note(given)
        return [*begun, *self._answer.end(FinishReason.LENGTH, {"budget": self._max_tokens}), None]

    def _begun(self, token: StreamToken, fitting: str) -> list[StreamToken]:
        """What of `token` is still given."""
        match token:
            case TextDelta() | ReasoningDelta() | RefusalDelta() if fitting:
                return [msgspec.structs.replace(token, text=fitting)]
            case ToolCallDelta() if fitting:
                return [msgspec.structs.replace(token, arguments=fitting)]
            case _:  # a name or a whole call is nothing if it is not whole
                return []
