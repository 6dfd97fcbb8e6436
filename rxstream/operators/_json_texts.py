"""The texts of an answer that may hold JSON: what `partial_json` and `json_elements` read."""

from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct

from rxstream.framing import JsonGrower
from rxstream.framing.json_stream import MAX_CHARACTERS, MAX_DEPTH, ElementPath
from rxstream.tokens import StreamToken, TextDelta, ToolCall, ToolCallDelta, ToolCallStart, ToolCallTruncated

R = TypeVar("R")


class JsonOrigin(Struct, frozen=True):
    """Which text it is: the visible text of one choice, or the arguments of one call."""

    choice: int = 0
    key: str | None = None
    """The `key` of the call; `None` for visible text."""
    tool: str | None = None
    """The name of the tool that is called."""

    def grower(
        self,
        *,
        elements_of: ElementPath | None = None,
        max_depth: int = MAX_DEPTH,
        max_characters: int = MAX_CHARACTERS,
    ) -> JsonGrower:
        """Return what reads such a text: there may be prose around an answer, but not around arguments."""
        return JsonGrower(
            embedded=self.key is None, elements_of=elements_of, max_depth=max_depth, max_characters=max_characters
        )


class JsonTexts(Generic[R]):
    """Tells which text a token goes on with, and keeps a reader for each, made by `make`.

    With `tool` only the arguments of calls of that tool count.
    """

    def __init__(self, make: Callable[[JsonOrigin], R], tool: str | None = None) -> None:
        self._make = make
        self._tool = tool
        self._answers: dict[int, R] = {}  # by choice
        self._calls: dict[str, R | None] = {}  # by key; `None` for a call of another tool
        self._begun: set[str] = set()  # the calls that came in pieces: the whole call says nothing new

    def next_text(self, token: StreamToken) -> tuple[R, str, bool] | None:
        """Return the reader of the text that `token` goes on with, the text, and whether it ends with it."""
        if type(token) is TextDelta:  # the usual case
            if self._tool is not None:
                return None
            if token.choice not in self._answers:
                self._answers[token.choice] = self._make(JsonOrigin(token.choice))
            return self._answers[token.choice], token.text, False
        match token:
            case ToolCallStart(key=key, name=name, choice=choice):
                self._calls[key] = self._reader_of_call(key, name, choice)
                return None
            case ToolCallDelta(key=key, arguments=arguments):
                self._begun.add(key)
                reader = self._calls.get(key)
                return None if reader is None else (reader, arguments, False)
            case ToolCall(key=key, function=function):
                reader = self._calls.pop(key) if key in self._calls else self._reader_of_call(key, function.name, 0)
                arguments = "" if key in self._begun else function.arguments
                self._begun.discard(key)
                return None if reader is None else (reader, arguments, True)
            case ToolCallTruncated(key=key):
                self._calls.pop(key, None)
                self._begun.discard(key)
                return None
            case _:
                return None

    def _reader_of_call(self, key: str, name: str, choice: int) -> R | None:
        return self._make(JsonOrigin(choice, key, name)) if self._tool in {None, name} else None
