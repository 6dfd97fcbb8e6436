"""Streams that go on and on, each event a little different from the last: what they cost must grow as they do.

A service that is broken, or wants to do harm, can send a hundred thousand indexes, names or keys in a few megabytes.
If each of them is looked for among all others, or repeats all others, the stream stands still or fills the memory.

Cost is counted, not timed: lines of Python that run, and bytes of the tokens written down.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from types import FrameType
from typing import Any

from rxstream.dialect import Dialect
from rxstream.tokens import to_json
from tests.dialects.reading import read
from tests.faults.bodies import Body, Place, bodies_of
from tests.faults.content import EVERYTHING
from tests.faults.fields import Spot, events_by_shape, seen_in, with_value

EVENTS = 80
"""How many events are compared with twice as many."""
EVERY = 211
"""One pair in so many is tried unless all are wanted."""


@dataclass(frozen=True)
class Numbered:
    """An event with a number in it."""

    body: Body
    event: int
    place: Place
    spot: Spot
    old: Any

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{'.'.join(map(str, self.spot))} of event {self.event} of {self.body.name}"

    def written(self, number: int) -> bytes:
        """Return the event with that number."""
        match self.old:
            case str():
                spot, value = self.spot, f"{self.old}{number}"
            case dict():
                spot, value = (*self.spot, f"number {number}"), number
            case _:
                spot, value = self.spot, number
        return self.place.written(json.dumps(with_value(json.loads(self.place.json), spot, value)).encode())


@dataclass(frozen=True)
class Growing:
    """Events of one kind with rising numbers; then, perhaps, as many of another kind."""

    kinds: tuple[Numbered, ...]

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.kinds[0].body.dialect.name}: {', then '.join(kind.name for kind in self.kinds)}"

    def wire(self, times: int) -> bytes:
        """Return the stream with that many events of each kind."""
        first = self.kinds[0]
        before = first.body.events[: first.event]
        return b"".join([*before, *(kind.written(number) for kind in self.kinds for number in range(times))])

    def cost(self, times: int) -> tuple[int, int]:
        """Return what that many events cost: lines of Python, and bytes of tokens."""
        wire = self.wire(times)
        with _LineCount() as lines:
            outcome = read(first_dialect(self), [wire], raw_events=True)
        return lines.count, sum(len(to_json(token)) for token in outcome.tokens)


def first_dialect(stream: Growing) -> Dialect[Any]:
    """Return the dialect that a stream is of."""
    return stream.kinds[0].body.dialect


class _LineCount:
    """How many lines of rxstream run within a `with` block, and how often a loop goes round."""

    def __enter__(self) -> "_LineCount":
        self.count = 0
        self._before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._line if "rxstream" in frame.f_code.co_filename else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        self.count += 1
        return self._line


def numbered(dialect: Dialect[Any]) -> list[Numbered]:
    """Return every value of every shape of event that can be numbered."""
    return [
        Numbered(body, number, place, spot, old)
        for body, number, place in events_by_shape(bodies_of(dialect))
        for spot, old in _values(json.loads(place.json))
    ]


def _values(value: Any) -> Iterator[tuple[Spot, Any]]:
    for spot in seen_in(value):
        old = value
        for step in spot:
            old = old[step]
        if isinstance(old, str | int | dict) and not isinstance(old, bool):
            yield spot, old


def singles(dialect: Dialect[Any]) -> list[Growing]:
    """Return a stream for each numbered value."""
    return [Growing((one,)) for one in numbered(dialect)]


def pairs(dialect: Dialect[Any]) -> list[Growing]:
    """Return a stream for each two numbered values that may be of one thing: indexes of the same name."""
    counted = [one for one in numbered(dialect) if isinstance(one.old, int) and one.spot[-1] != "sequence_number"]
    return [
        Growing((one, other))
        for one, other in product(counted, counted)
        if one.spot[-1] == other.spot[-1] and one.event != other.event
    ]


def portion_of(dialect: Dialect[Any]) -> tuple[list[Growing], int]:
    """Return the streams to be tried, and of how many.

    All, or one for each name of a number or an object, the outermost of that name, and a few of the pairs.
    """
    alone, together = singles(dialect), pairs(dialect)
    if EVERYTHING:
        return alone + together, len(alone) + len(together)
    by_name: dict[str | int, Growing] = {}
    for stream in sorted(alone, key=lambda one: -len(one.kinds[0].spot)):
        [kind] = stream.kinds
        if not isinstance(kind.old, str):
            by_name[kind.spot[-1]] = stream
    return [*by_name.values(), *together[::EVERY]], len(alone) + len(together)
