"""The elements of an array in a JSON answer, each as soon as it is whole."""

import re
from collections.abc import Callable

from reactivex import Observable

from rxstream.framing import JsonGrower
from rxstream.framing.json_stream import MAX_CHARACTERS, MAX_DEPTH, ElementPath
from rxstream.operators._json_texts import JsonOrigin, JsonTexts
from rxstream.rx import lift
from rxstream.tokens import Json, StreamToken

_STEP = re.compile(r"""\.([^.\[\]'"*]+)|\['([^']*)'\]|\["([^"]*)"\]|\[([0-9]+)\]|(\[\*\])""")


def json_elements(
    path: str | tuple[str | int, ...] = (),
    *,
    tool: str | None = None,
    max_depth: int = MAX_DEPTH,
    max_characters: int = MAX_CHARACTERS,
) -> Callable[[Observable[StreamToken]], Observable[Json]]:
    """Give each element of the array at `path` once, when it is whole: long before the answer is.

    `path` says where the array is: `"items"` is a member of the outermost object,
    `("result", "items")` is further in, `("pages", 0)` counts places from 0, and `()`
    is the outermost array. Text that begins with `$` is a JSON path and names the
    elements: `"$.result.items[*]"`, with `[*]` for every place before that too, as in
    `"$.pages[*].items[*]"`. Nothing but the element that is being read is kept, so an
    array may be as long as it likes.

    Read are visible text and the arguments of every call, in the way that
    `partial_json` reads them; with `tool` only the arguments of calls of that tool.
    `max_characters` holds for each element, and for what is between two. Where the text
    turns out to be no JSON, the elements given before that have been given. Raises
    `ValueError` for a path that makes no sense.
    """
    _parsed(path)
    return lift(lambda: JsonElementReader(path, tool=tool, max_depth=max_depth, max_characters=max_characters))


class _Reader:
    """One text, and the value in it that is being read."""

    def __init__(self, origin: JsonOrigin, make: Callable[[], JsonGrower]) -> None:
        self._origin = origin
        self._make = make
        self._grower = make()

    def feed(self, text: str) -> list[Json]:
        made: list[Json] = []
        at = 0
        while at < len(text):
            at, _ = self._grower.feed(text, at)
            made += self._grower.take_elements()
            if self._grower.is_complete or self._grower.is_malformed:
                if self._origin.key is not None:
                    break
                self._grower = self._make()
        return made


class JsonElementReader:
    """Tokens in, elements out: the machine of `json_elements`."""

    def __init__(
        self,
        path: str | tuple[str | int, ...] = (),
        *,
        tool: str | None = None,
        max_depth: int = MAX_DEPTH,
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        wanted = _parsed(path)

        def make(origin: JsonOrigin) -> _Reader:
            return _Reader(
                origin,
                lambda: origin.grower(elements_of=wanted, max_depth=max_depth, max_characters=max_characters),
            )

        self._texts = JsonTexts(make, tool)

    def feed(self, token: StreamToken) -> list[Json]:
        found = self._texts.next_text(token)
        return [] if found is None else found[0].feed(found[1])

    def flush(self) -> list[Json]:
        return []


def _parsed(path: str | tuple[str | int, ...]) -> ElementPath:
    if isinstance(path, tuple):
        return path
    if not path.startswith("$"):
        return (path,)
    steps: list[str | int | None] = []
    at = 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise ValueError(f"{path!r} is no path that is understood here, from {path[at:]!r} on")
        *names, place, _ = step.groups()
        steps.append(next((name for name in names if name is not None), None if place is None else int(place)))
        at = step.end()
    if not steps or steps.pop() is not None:
        raise ValueError(f"{path!r} does not name the elements of an array: it must end in [*]")
    return tuple(steps)
