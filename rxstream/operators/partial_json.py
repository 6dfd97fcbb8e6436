"""The value of a JSON answer, or of a tool's arguments, while it is being written."""

import threading
from collections.abc import Callable
from typing import cast

from reactivex import Observable

from rxstream.framing import JsonGrower
from rxstream.framing.json_stream import MAX_CHARACTERS, MAX_DEPTH
from rxstream.operators._json_texts import JsonOrigin, JsonTexts
from rxstream.rx import lift
from rxstream.tokens import Json, StreamToken


def partial_json(
    *, tool: str | None = None, max_depth: int = MAX_DEPTH, max_characters: int = MAX_CHARACTERS
) -> Callable[[Observable[StreamToken]], Observable["PartialJson"]]:
    r"""Give the JSON of the answer and of each call's arguments as it grows: a `PartialJson` at each delta that adds.

    Each character is read once. Strings are there as far as they have come, without
    half an escape or half a character; numbers, `true`, `false` and `null` once they
    are whole; members of objects once their value has begun.

    In visible text the JSON is the first array or object, so a Markdown fence around it
    and prose before it do no harm. Prose may hold brackets too: what turns out to be no
    JSON is let go of, and what comes after it, or after the end of a value, is looked
    through for the next one, whose `number` is one higher. Arguments are one value
    from their first character on. Where they are no JSON, nothing more comes of that
    call: it is no error, since the stream itself says so with a `ToolCallTruncated`.
    Nesting deeper than `max_depth` and values of more than `max_characters` are taken
    for no JSON.

    With `tool` only the arguments of calls of that tool are read.
    """
    return lift(lambda: PartialJsonReader(tool=tool, max_depth=max_depth, max_characters=max_characters))


class PartialJson:
    """A JSON value as far as it had come after one delta. It may be read in any thread.

    Equal if it is of the same text and the same value, and not hashable.
    """

    __slots__ = ("_growth", "_length", "is_complete", "path")

    def __init__(self, growth: "_Growth", is_complete: bool) -> None:
        self._growth = growth
        self._length = len(growth.pieces)
        self.is_complete = is_complete
        """Whether the value has come to its end. Only a `ToolCall` says that a call is to be run."""
        self.path: tuple[str | int, ...] = growth.grower.path
        """Where the delta added last: names of members and places in arrays, from the outside in."""

    @property
    def key(self) -> str | None:
        """The `key` of the call whose arguments these are; `None` for visible text."""
        return self._growth.origin.key

    @property
    def tool(self) -> str | None:
        """The name of the tool that is called."""
        return self._growth.origin.tool

    @property
    def choice(self) -> int:
        """Which of several answers it belongs to."""
        return self._growth.origin.choice

    @property
    def number(self) -> int:
        """Which value of its text this is, from 0."""
        return self._growth.number

    @property
    def value(self) -> Json:
        """The value as it was then: a copy of your own, which takes time by its size.

        For any but the newest its text is read again. Read it as often as you show it,
        after `frames(...)` say, rather than for each delta.
        """
        return self._growth.value(self._length)

    @property
    def live(self) -> Json:
        """The value as it is now: no copy, so not to be changed, and it goes on growing.

        Takes time by the string that is being written alone. Only for the thread that
        the stream runs in.
        """
        return self._growth.grower.value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PartialJson):
            return NotImplemented
        return self._growth.origin == other._growth.origin and self._facts == other._facts

    __hash__ = None  # type: ignore[assignment]  # so Python spells "not hashable", which the type of `object` denies

    def __repr__(self) -> str:
        whose = "" if self.key is None else f" of {self.tool} ({self.key})"
        return f"<PartialJson{whose} {'complete' if self.is_complete else 'so far'}: {self.value!r}>"

    @property
    def _facts(self) -> tuple[Json, ...]:
        return self.number, self.is_complete, self.path, self.value


class _Growth:
    """One value, growing, and the text that it was read from."""

    __slots__ = ("_make", "grower", "lock", "number", "origin", "pieces")

    def __init__(self, origin: JsonOrigin, number: int, make: Callable[[], JsonGrower]) -> None:
        self.origin, self.number = origin, number
        self._make = make
        self.grower = make()
        self.pieces: list[str] = []
        self.lock = threading.Lock()  # a value may be read in one thread while it grows in another

    def finish(self) -> bool:
        """Say that no more text comes; return whether the value changed."""
        with self.lock:
            return self.grower.finish()

    def value(self, length: int) -> Json:
        """Return a copy of the value as it was after the first `length` pieces."""
        with self.lock:
            if length == len(self.pieces):
                return _copy(self.grower.value)
            past = self._make()
            past.feed("".join(self.pieces[:length]))
            return past.value


class _Reader:
    """One text, and the value in it that is being read."""

    __slots__ = ("_make", "_origin", "growth")

    def __init__(self, origin: JsonOrigin, max_depth: int, max_characters: int) -> None:
        self._origin = origin
        self._make = lambda: origin.grower(max_depth=max_depth, max_characters=max_characters)
        self.growth = _Growth(origin, 0, self._make)

    def feed(self, text: str) -> list[PartialJson]:
        made: list[PartialJson] = []
        at = 0
        while at < len(text):
            growth = self.growth
            grower = growth.grower
            with growth.lock:
                end, has_changed = grower.feed(text, at)
                if grower.has_begun:
                    growth.pieces.append(text if end - at == len(text) else text[at:end])
            at = end
            if has_changed:
                made.append(PartialJson(growth, grower.is_complete))
            if grower.is_complete or grower.is_malformed:
                if self._origin.key is not None:
                    break
                self.growth = _Growth(self._origin, growth.number + bool(growth.pieces), self._make)
        return made

    def finish(self) -> list[PartialJson]:
        return [PartialJson(self.growth, True)] if self.growth.finish() else []


class PartialJsonReader:
    """Tokens in, values that grow out: the machine of `partial_json`."""

    def __init__(
        self, *, tool: str | None = None, max_depth: int = MAX_DEPTH, max_characters: int = MAX_CHARACTERS
    ) -> None:
        self._texts = JsonTexts(lambda origin: _Reader(origin, max_depth, max_characters), tool)

    def feed(self, token: StreamToken) -> list[PartialJson]:
        found = self._texts.next_text(token)
        if found is None:
            return []
        reader, text, is_last = found
        made = reader.feed(text)
        return made + reader.finish() if is_last else made

    def flush(self) -> list[PartialJson]:
        return []


def _copy(value: Json) -> Json:
    """Return a copy of a JSON value."""
    if isinstance(value, dict):
        return {name: _copy(member) for name, member in cast(dict[str, Json], value).items()}
    if isinstance(value, list):
        return [_copy(item) for item in cast(list[Json], value)]
    return value
