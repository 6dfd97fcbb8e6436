"""Healthy bodies, event by event, and where in them something can go wrong."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rxstream.dialect import Dialect
from rxstream.dialects import dialect, dialects
from rxstream.framing import NdjsonParser, SseParser
from rxstream.tokens import StreamToken
from tests.dialects.event_streams import inner_of, parts, with_inner
from tests.dialects.reading import Outcome, fixtures_of, read

_SSE_DATA = re.compile(rb"^data: ([^\r\n]*)\r?$", re.MULTILINE)
_STRING_BEGUN = re.compile(rb'"[^"\\]*":\s*"(?=[^"\\]*")')


@dataclass(frozen=True)
class Place:
    """Where the JSON of an event stands, and how the event is written with other JSON in its place."""

    json: bytes
    written: Callable[[bytes], bytes]


@dataclass(frozen=True, eq=False)
class Body:
    """A recording of our own that is read without an error."""

    dialect: Dialect[Any]
    name: str
    events: list[bytes]

    @cached_property
    def healthy(self) -> Outcome:
        """What it comes to."""
        return read(self.dialect, [b"".join(self.events)])

    @cached_property
    def has_end_mark(self) -> bool:
        """Whether its last event ends the stream; else only the end of the body does."""
        reader = self.dialect.read_body()
        reader.feed(b"".join(self.events))
        return reader.ended

    @cached_property
    def given(self) -> list[list[StreamToken]]:
        """The tokens that were given after no event, after one, after two …"""
        reader = self.dialect.read_body()
        given: list[list[StreamToken]] = [[]]
        for event in self.events:
            given.append(given[-1] + reader.feed(event))
        return given

    def places(self, number: int) -> list[Place]:
        """Where JSON stands in an event: nowhere, in one place, or wrapped into other JSON."""
        event = self.events[number]
        if isinstance(parser := self.dialect.parser(), SseParser):
            found = _SSE_DATA.search(event)
            if found is None or not found[1].startswith(b"{"):
                return []
            return [Place(found[1], lambda text: event[: found.start(1)] + text + event[found.end(1) :])]
        if isinstance(parser, NdjsonParser):
            return [Place(event.rstrip(b"\n"), lambda text: text + b"\n")]
        return _places_of_message(event)

    def strings(self, number: int) -> list[tuple[bytes, bytes, Place]]:
        """Every string in the JSON of an event, as the JSON up to inside it, the JSON from there on, and the place."""
        return [
            (place.json[: found.end()], place.json[found.end() :], place)
            for place in self.places(number)
            for found in _STRING_BEGUN.finditer(place.json)
        ]


def _places_of_message(event: bytes) -> list[Place]:
    [(_, message)] = parts(event)
    if message is None:
        return []
    inner = inner_of(message)
    wrapped = Place(inner, lambda text: with_inner(message, text))
    if inner == message.payload:
        return [wrapped]
    outer = type(message)(message.headers, b"")
    return [Place(message.payload, lambda text: with_inner(outer, text)), wrapped]


def bodies_of(dialect: Dialect[Any]) -> list[Body]:
    """Return the healthy bodies of `dialect`, the one that says most first."""
    bodies = [Body(dialect, path.stem, split(dialect, path.read_bytes())) for path in fixtures_of(dialect)]
    healthy = [body for body in bodies if body.healthy.error is None]
    return sorted(healthy, key=lambda body: (-sum(map(len, body.events)), body.name))


def split(dialect: Dialect[Any], wire: bytes) -> list[bytes]:
    """Return the events of `wire`, each with its end."""
    parser = dialect.parser()
    if isinstance(parser, SseParser):
        return [event for event in re.findall(rb".*?\n\r?\n|.+", wire, re.DOTALL) if event]
    if isinstance(parser, NdjsonParser):
        return wire.splitlines(keepends=True)
    return [written for written, _ in parts(wire)]


DIALECTS = [dialect(name) for name in dialects()]
BODIES = [body for each in DIALECTS for body in bodies_of(each)]
RICHEST = [bodies_of(each)[0] for each in DIALECTS]
