"""The arguments of a call that come leaf by leaf, each with its JSON path.

Vertex streams `{"a": {"b": "x y"}, "c": [1]}` as values with their places, a text
perhaps in several pieces:

    $.a.b "x"…      $.a.b " y"      $.c[0] 1

`add` gives the piece of JSON text that each of them adds, so that a reader sees the
arguments grow as from any other service, and `close` gives what closes it. That works
as long as leaves come in the order of the text, as a model makes them. If one goes back
to what the text has closed, no more text can be given; the value is right all the same.
"""

import json
import re
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias, cast

from msgspec import Struct

from rxstream.dialects._values import MAX_DEPTH
from rxstream.errors import ProtocolError
from rxstream.tokens import Json

Steps: TypeAlias = tuple[str | int, ...]
"""A place in a value: names of members and numbers of items, from the outermost."""

MAX_KNOWN_PATH = 256
"""Characters of the longest JSON path that is remembered beyond its stream."""

_MISFIT = "the pieces of a tool call's arguments don't fit together"
_NO_PLACE = "a piece of a tool call's arguments has no place that can be read"
_STEP = re.compile(
    r"""\.(?P<name>[^.\[\]]+)|\[(?P<number>\d{1,9})\]|\[(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\]""", re.DOTALL
)


class _Leaf(Struct):
    """A value without others in it; a text is in pieces until it is wanted."""

    value: Json
    pieces: list[str] | None = None

    @property
    def whole(self) -> Json:
        return self.value if self.pieces is None else "".join(self.pieces)


class PartialArguments:
    """Leaves in, pieces of JSON text out; in time linear in their text."""

    def __init__(self) -> None:
        self._root: dict[str, Json] = {}  # of `_Leaf`s, and of dicts and lists of them
        self._open: dict[Steps, _Leaf] = {}  # texts of which more is to come
        self._at: Steps = ()  # the leaf that the JSON text ends in, or just after
        self._is_in_text = False  # the JSON text ends inside a string
        self._is_in_order = True

    def add(self, path: str, value: Json, *, continues: bool = False) -> str:
        """Take the leaf at the JSON path `path`, or the next piece of its text; return the JSON text that this adds.

        `continues` says that more of a text is to come. Raises `ProtocolError` for a place that can't be.
        """
        steps = _steps(path)
        leaf = self._open.get(steps)
        if leaf is not None and leaf.pieces is not None and isinstance(value, str):
            leaf.pieces.append(value)
            text = self._more(steps, value, continues=continues)
        else:
            leaf = _Leaf(value, [value] if isinstance(value, str) else None)
            text = self._next(steps, value, known=self._insert(steps, leaf), continues=continues)
        if continues:
            self._open[steps] = leaf
        else:
            self._open.pop(steps, None)
        return text

    def close(self) -> str:
        """Return the JSON text that closes whatever is open; `{}` if no leaf came."""
        if not self._at:
            return "{}"
        return self._end_text() + _closing(self._at) if self._is_in_order else ""

    @property
    def value(self) -> dict[str, Json]:
        """The arguments, as far as they came."""
        return _whole(self._root)

    def _insert(self, steps: Steps, leaf: _Leaf) -> int:
        """Put `leaf` into its place; return how many of its steps led to something that was there before."""
        container: Json = self._root
        known = 0
        for step, following in pairwise(steps):
            inner = _found(container, step)
            if inner is None:
                inner = _put(container, step, [] if isinstance(following, int) else {})
            else:
                known += 1
            container = inner
        there = _found(container, steps[-1])
        if there is not None and not isinstance(there, _Leaf):
            raise ProtocolError(_MISFIT)
        _put(container, steps[-1], leaf)
        return known + (there is not None)

    def _more(self, steps: Steps, piece: str, *, continues: bool) -> str:
        """The JSON text of one more piece of the text at `steps`."""
        if steps != self._at or not self._is_in_text:  # another leaf came between the pieces
            self._is_in_order = False
        if not self._is_in_order:
            return ""
        self._is_in_text = continues
        return _json(piece)[1:-1] + ("" if continues else '"')

    def _next(self, steps: Steps, value: Json, *, known: int, continues: bool) -> str:
        """The JSON text of a new leaf."""
        shared = _shared(self._at, steps)
        if known > shared:  # what it lies in is closed
            self._is_in_order = False
        if not self._is_in_order:
            return ""
        text = f"{self._end_text()}{_closing(self._at[shared + 1 :])}," if self._at else "{"
        text += _name(steps[shared]) + "".join(_opening(step) + _name(step) for step in steps[shared + 1 :])
        self._at = steps
        self._is_in_text = continues and isinstance(value, str)
        return text + (_json(value)[:-1] if self._is_in_text else _json(value))

    def _end_text(self) -> str:
        was_in_text, self._is_in_text = self._is_in_text, False
        return '"' if was_in_text else ""


def _steps(path: str) -> Steps:
    """The place that a JSON path (RFC 9535) of names and numbers alone leads to."""
    return known_steps(path) if len(path) <= MAX_KNOWN_PATH else _read_steps(path)


def _read_steps(path: str) -> Steps:
    steps: list[str | int] = []
    end = 1
    while path.startswith("$") and len(steps) < MAX_DEPTH and (step := _STEP.match(path, end)):
        end = step.end()
        if step["number"] is not None:
            steps.append(int(step["number"]))
        else:
            steps.append(step["name"] or _unquoted(step["quoted"]))
    if not steps or end < len(path) or not isinstance(steps[0], str):
        raise ProtocolError(_NO_PLACE)
    return tuple(steps)


known_steps = lru_cache(maxsize=256)(_read_steps)  # the pieces of a text come one after another, all with one path


def _unquoted(name: str) -> str:
    """A name in quotes of either kind."""
    if name.startswith("'"):
        inner = re.sub(r'\\.|"', lambda found: {"\\'": "'", '"': r"\""}.get(found[0], found[0]), name[1:-1])
        name = f'"{inner}"'
    try:
        return cast(str, json.loads(name, strict=False))
    except ValueError:
        raise ProtocolError(_NO_PLACE) from None


def _shared(one: Steps, other: Steps) -> int:
    """How many steps two places have in common, but for the last of either."""
    shared = 0
    for a, b in zip(one[:-1], other[:-1], strict=False):
        if a != b:
            break
        shared += 1
    return shared


def _opening(step: str | int) -> str:
    """What opens the container that `step` leads into."""
    return "[" if isinstance(step, int) else "{"


def _closing(steps: Steps) -> str:
    return "".join("]" if isinstance(step, int) else "}" for step in reversed(steps))


def _name(step: str | int) -> str:
    return f"{_json(step)}:" if isinstance(step, str) else ""


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _found(container: Json, step: str | int) -> Json:
    """What is at `step` in `container`, `None` if nothing is there."""
    if isinstance(container, dict) and isinstance(step, str):
        return cast(dict[str, Json], container).get(step)
    if isinstance(container, list) and isinstance(step, int):
        items = cast(list[Json], container)
        if step <= len(items):  # a list has no holes
            return items[step] if step < len(items) else None
    raise ProtocolError(_MISFIT)


def _put(container: Json, step: str | int, value: Json) -> Json:
    """Put `value` where `_found` looked; return it."""
    if isinstance(step, int):
        container[step : step + 1] = [value]
    else:
        container[step] = value
    return value


def _whole(value: Json) -> Json:
    """The value that a tree of leaves stands for."""
    match value:
        case _Leaf():
            return value.whole
        case dict():
            return {name: _whole(member) for name, member in cast(dict[str, Json], value).items()}
        case _:
            return [_whole(item) for item in value]
