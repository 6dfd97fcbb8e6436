"""No more than so many tokens of an answer."""

from collections.abc import Callable
from typing import cast

import msgspec
from reactivex import Observable
from reactivex import operators as ops

from rxstream.rx import lift
from rxstream.tokenizer import AnswerCounter, Encoding, Vocabulary, vocabulary
from rxstream.tokens import (
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
)


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

    def operator(source: Observable[StreamToken]) -> Observable[StreamToken]:
        given = source.pipe(lift(lambda: _Budget(max_tokens, chosen)), ops.take_while(lambda item: item is not None))
        return cast("Observable[StreamToken]", given)

    return operator


class _Budget:
    """Gives tokens, and `None` once the budget is spent."""

    def __init__(self, max_tokens: int, chosen: Vocabulary) -> None:
        self._max_tokens = max_tokens
        self._counter = AnswerCounter(chosen)
        self._open_choices: dict[int, None] = {}
        self._open_calls: dict[str, tuple[ToolCallStart, list[str]]] = {}

    def feed(self, token: StreamToken) -> list[StreamToken | None]:
        self._note_choice(token)
        text = self._counter.new_text(token)
        if text and (fitting := self._counter.fitting(token, self._max_tokens)) != text:
            return [*self._begun(token, fitting), *self._end(), None]
        if not isinstance(token, TextDelta):
            self._note_call(token)
        return [token]

    def flush(self) -> list[StreamToken | None]:
        return []

    def _note_choice(self, token: StreamToken) -> None:
        match token:
            case TextDelta(choice=choice) | ReasoningDelta(choice=choice) | RefusalDelta(choice=choice):
                self._open_choices[choice] = None
            case ToolCallStart(choice=choice):
                self._open_choices[choice] = None
            case StreamEnd(choice=choice):
                self._open_choices.pop(choice, None)
            case _:
                return

    def _note_call(self, token: StreamToken) -> None:
        match token:
            case ToolCallStart(key=key):
                self._open_calls[key] = token, []
            case ToolCallDelta(key=key, arguments=arguments) if key in self._open_calls:
                self._open_calls[key][1].append(arguments)
            case ToolCall(key=key) | ToolCallTruncated(key=key):
                self._open_calls.pop(key, None)
            case _:
                return

    def _begun(self, token: StreamToken, fitting: str) -> list[StreamToken]:
        """What of `token` is still given."""
        match token:
            case TextDelta() | ReasoningDelta() | RefusalDelta() if fitting:
                return [msgspec.structs.replace(token, text=fitting)]
            case ToolCallDelta() if fitting:
                begun = msgspec.structs.replace(token, arguments=fitting)
                self._note_call(begun)
                return [begun]
            case _:  # a name or a whole call is nothing if it is not whole
                return []

    def _end(self) -> list[StreamToken]:
        cut: list[StreamToken] = [
            ToolCallTruncated(start.key, start.id, start.name, "".join(arguments))
            for start, arguments in self._open_calls.values()
        ]
        details = {"budget": self._max_tokens}
        ends = [StreamEnd(FinishReason.LENGTH, choice=choice, details=details) for choice in self._open_choices or [0]]
        return [*cut, *ends]
