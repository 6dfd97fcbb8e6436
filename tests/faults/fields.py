"""A wrong value in every declared field: which fields there are is read from the types that the decoders read.

A spot is a path of names and numbers in the JSON of an event. Those that matter are the ones that the types declare,
whether or not a service has ever sent them, and the ones that a recording has: what is declared as `Json` is read by
hand further in.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from typing import Any, TypeAlias, cast

import msgspec
from msgspec import inspect

from rxstream.dialect import Decoder, Dialect
from rxstream.framing import JsonReader
from tests.faults.bodies import Body, Place, bodies_of
from tests.faults.content import BAD_VALUES, EVERYTHING

Spot: TypeAlias = tuple[str | int, ...]

MISSING = "missing"
EVERY = 97
"""One case in so many is tried unless all are wanted: a prime, so that every value meets every kind of spot."""

_HERE = "the value is here"
_MAX_STEPS = 8


@dataclass(frozen=True)
class FieldCase:
    """A value of another kind in one spot of one event."""

    body: Body
    event: int
    place: Place
    spot: Spot
    value: str

    @property
    def name(self) -> str:
        """What it is called."""
        where = ".".join(map(str, self.spot))
        return f"{self.body.dialect.name}/{self.body.name}: {where} of event {self.event} is {self.value}"

    def chunks(self) -> list[bytes]:
        """The body: what comes before the event, the event, what comes after it."""
        events = self.body.events
        text = json.dumps(with_value(json.loads(self.place.json), self.spot, _HERE, is_missing=self.value == MISSING))
        written = text.encode().replace(f'"{_HERE}"'.encode(), BAD_VALUES.get(self.value, b""))
        return [b"".join(events[: self.event]), self.place.written(written), b"".join(events[self.event + 1 :])]


def with_value(whole: Any, spot: Spot, value: object, *, is_missing: bool = False) -> Any:
    """Return `whole` with `value` at `spot`, or with nothing there; what leads there is made where it is missing."""
    container: Any = whole
    for step, following in pairwise(spot):
        kind: type[Any] = list if isinstance(following, int) else dict
        if type(_at(container, step)) is not kind:
            _put(container, step, kind())
        container = _at(container, step)
    last: Any = spot[-1]
    if not is_missing:
        _put(container, last, value)
    elif _at(container, last) is not None:
        del container[last]
    return whole


def _at(container: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return container[step] if step < len(container) else None
    return container.get(step)


def _put(container: Any, step: str | int, value: object) -> None:
    if isinstance(step, int):
        container[step : step + 1] = [value]
    else:
        container[step] = value


@cache
def declared_by(body: Body) -> list[Spot]:
    """Return every spot that the types declare which the decoder of `body` reads with, its parts included."""
    reader = body.dialect.read_body()
    reader.feed(b"".join(body.events))
    spots: dict[Spot, None] = {}
    for type_ in _types_read_by(reader):
        for spot in _declared(inspect.type_info(type_), ()):
            spots.setdefault(spot)
    return list(spots)


def _types_read_by(*things: object) -> list[Any]:
    """The types that the `JsonReader`s of some objects, of what they hold, and of their modules read."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    waiting = list(things)
    while waiting:
        thing: Any = waiting.pop()
        if id(thing) in seen or not type(thing).__module__.startswith("rxstream."):
            continue
        seen.add(id(thing))
        if isinstance(thing, JsonReader):
            type_ = cast(Any, thing)._type
            found[type_.__name__] = type_
            continue
        waiting += getattr(thing, "__dict__", {}).values()
        if isinstance(thing, Decoder):
            waiting += vars(sys.modules[type(cast(object, thing)).__module__]).values()
    return [found[name] for name in sorted(found)]


def _declared(shape: inspect.Type, before: Spot) -> Iterator[Spot]:
    if len(before) > _MAX_STEPS:
        return
    match shape:
        case inspect.StructType():
            for field in shape.fields:
                yield (*before, field.encode_name)
                yield from _declared(field.type, (*before, field.encode_name))
        case inspect.ListType(item_type=item):
            yield (*before, 0)
            yield from _declared(item, (*before, 0))
        case inspect.UnionType(types=shapes):
            for one in shapes:
                yield from _declared(one, before)
        case _:
            return


def seen_in(value: Any, before: Spot = ()) -> Iterator[Spot]:
    """Every spot inside a value."""
    members: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        members = list(cast(dict[str | int, Any], value).items())
    elif isinstance(value, list):
        members = list(enumerate(cast(list[Any], value)))
    for step, inner in members:
        yield (*before, step)
        yield from seen_in(inner, (*before, step))


def shape_of(value: Any) -> str:
    """What tells kinds of events apart: which members there are, and the words that name a kind."""
    words = [_at(value, name) for name in ("type", "event_type")]
    return repr((sorted({spot for spot in seen_in(value) if len(spot) < 5}, key=repr), words))


def events_by_shape(bodies: list[Body]) -> list[tuple[Body, int, Place]]:
    """Return one event of each shape that is in `bodies`, and each place in it: the last one of the first body."""
    found: dict[str, tuple[Body, int, Place]] = {}
    for body in reversed(bodies):
        for number in range(len(body.events)):
            for level, place in enumerate(body.places(number)):
                if isinstance(value := _read(place.json), dict):
                    found[f"{level} {shape_of(value)}"] = (body, number, place)
    return list(found.values())


def _read(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def field_cases(dialect: Dialect[Any]) -> list[FieldCase]:
    """Return a case for each event of its own shape, each spot in it, and each value."""
    return [
        FieldCase(body, number, place, spot, value)
        for body, number, place in events_by_shape(bodies_of(dialect))
        for spot, value in product(
            dict.fromkeys([*declared_by(body), *seen_in(msgspec.json.decode(place.json))]), [MISSING, *BAD_VALUES]
        )
    ]


def portion_of(cases: list[FieldCase]) -> list[FieldCase]:
    """Return the cases to be tried."""
    return cases if EVERYTHING else cases[::EVERY]
