"""End an answer before its source does, as a service would end it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

from reactivex import Observable
from reactivex import operators as ops

from rxstream.machine import Machine
from rxstream.rx import lift
from rxstream.tokens import (
    FinishReason,
    Json,
    RawEvent,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
    UsageReport,
)


def until_ended(
    make: Callable[[], Machine[StreamToken, StreamToken | None]],
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """Make an operator of a machine that gives `None` where the stream is to end; the source is let go of there."""

    def operator(source: Observable[StreamToken]) -> Observable[StreamToken]:
        given = source.pipe(lift(make), ops.take_while(lambda item: item is not None))
        return cast("Observable[StreamToken]", given)

    return operator


class OpenAnswer:
    """What has begun in a stream and not ended: its choices and its tool calls."""

    def __init__(self) -> None:
        self._choices: dict[int, None] = {}
        self._calls: dict[str, tuple[ToolCallStart, list[str]]] = {}
        self._call_choices: dict[str, int] = {}

    @property
    def has_choices(self) -> bool:
        """Whether a choice has begun and not ended."""
        return bool(self._choices)

    def choice_of(self, token: StreamToken) -> int | None:
        """Return which choice `token` belongs to; `None` if it is about the whole answer."""
        match token:
            case TextDelta(choice=choice):
                return choice
            case ToolCallStart(key=key, choice=choice):
                self._call_choices[key] = choice
                return choice
            case ToolCallDelta(key=key) | ToolCall(key=key) | ToolCallTruncated(key=key):
                return self._call_choices.get(key, 0)
            case StreamStart() | UsageReport() | RawEvent():
                return None
            case _:
                return token.choice

    def begin(self, token: StreamToken) -> None:
        """Take note that the choice of `token` has begun, whether the token is given or not."""
        if isinstance(token, TextDelta | ReasoningDelta | RefusalDelta | ToolCallStart):
            self._choices[token.choice] = None

    def note(self, token: StreamToken) -> None:
        """Take note of a token that is given."""
        match token:
            case TextDelta(choice=choice) | ReasoningDelta(choice=choice) | RefusalDelta(choice=choice):
                self._choices[choice] = None
            case ToolCallStart(key=key, choice=choice):
                self._choices[choice] = None
                self._calls[key] = token, []
            case ToolCallDelta(key=key, arguments=arguments) if key in self._calls:
                self._calls[key][1].append(arguments)
            case ToolCall(key=key) | ToolCallTruncated(key=key):
                self._calls.pop(key, None)
            case StreamEnd(choice=choice):
                self._choices.pop(choice, None)
            case _:
                return

    def end(self, reason: FinishReason, details: dict[str, Json], choice: int | None = None) -> list[StreamToken]:
        """Return what ends `choice`, or all of them: open calls as truncated, then one `StreamEnd` for each choice."""
        calls = [key for key, (start, _) in self._calls.items() if choice in {None, start.choice}]
        choices = list(self._choices) or [0] if choice is None else [choice]
        cut: list[StreamToken] = []
        for key in calls:
            start, arguments = self._calls.pop(key)
            cut.append(ToolCallTruncated(key, start.id, start.name, "".join(arguments)))
        for ended in choices:
            self._choices.pop(ended, None)
            cut.append(StreamEnd(reason, choice=ended, details=details))
        return cut


class ChoiceEnder(ABC):
    """Tokens in, tokens out until each choice has met what it is to end at, and then `None`.

    Each choice ends by itself, and what still comes of it is left out.
    """

    reason: FinishReason

    def __init__(self) -> None:
        self._answer = OpenAnswer()
        self._over: set[int] = set()

    def feed(self, token: StreamToken) -> list[StreamToken | None]:
        choice = self._answer.choice_of(token)
        if choice in self._over:
            return []
        made, details = self._look_at(token)
        if details is None or choice is None:
            self._answer.note(token)
            return [*made]
        ends = self.end(choice, details)
        return [*made, *ends] if self._answer.has_choices else [*made, *ends, None]

    def flush(self) -> list[StreamToken | None]:
        return []

    def end(self, choice: int, details: dict[str, Json]) -> list[StreamToken]:
        """End `choice`; return what says so."""
        self._over.add(choice)
        return self._answer.end(self.reason, details, choice)

    @abstractmethod
    def _look_at(self, token: StreamToken) -> tuple[list[StreamToken], dict[str, Json] | None]:
        """Return what is given for `token`, and if its choice ends there, why."""
