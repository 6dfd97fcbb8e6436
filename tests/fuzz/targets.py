"""What is fuzzed, and what must hold for any bytes.

1. They give what they give, or one `StreamError`; never another exception.
2. Cut elsewhere, they give the same.
3. What is held stays within the limits that were set, which are small here so that they are reached.

An input is the bytes themselves. Where they are cut is drawn from their own checksum: the same input is always cut
in the same way, and every input in another.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NoReturn
from zlib import crc32

import msgspec

from rxstream.dialect import Dialect
from rxstream.dialects import dialect, dialects
from rxstream.errors import FramingError, OverloadedError, ProtocolError, StreamError
from rxstream.framing import AwsEventStreamParser, NdjsonParser, SseParser
from rxstream.framing.json_stream import JsonGrower
from rxstream.framing.ndjson import ndjson_reader
from rxstream.framing.recording import (
    Began,
    Chunk,
    Ended,
    Failure,
    Record,
    RecordingReader,
    read_record,
    write_record,
)
from rxstream.framing.tolerant_json import JsonReader, integer, read_json
from rxstream.machine import Machine, completed_by
from rxstream.messages import AssembledMessage
from rxstream.surrogates import mend_value
from rxstream.tokens import Json
from tests.dialects.event_streams import chunk, inner_of, message, parts
from tests.dialects.laws import assert_same, hold_together
from tests.dialects.reading import cut, fixtures_of, read
from tests.faults.bodies import BODIES
from tests.faults.content import BAD_VALUES
from tests.faults.weight import held_bytes

LIMIT = 64
"""The limit that is set for lines, events and messages, in bytes."""
MORE_JSON = (
    rb'{"items": [1, {"a": "\ud83d\ude00 \u00e9\n\/ \ud83d"}, [], "x"], "b": -1.5e3, "c": [true, false, null]}',
    b"[" * 1_000 + b"]" * 1_000,
    b'{"n": 1.0, "of": {"type": "inner", "x": NaN, "names": [null]}, "items": [null, {"type": "inner"}]}',
)
"""What our recordings have none of."""
SHORT = 200
"""Up to which length an input is also cut into single bytes."""
ROOM = 4_096
"""What a machine weighs by itself, at most, in bytes."""


@dataclass(frozen=True)
class Target:
    """Something that reads bytes."""

    name: str
    check: Callable[[bytes], None]
    """Raise for bytes that break a law."""
    seeds: Callable[[], list[bytes]]
    """Bytes to begin with: of our own fixtures."""


def cuts_of(data: bytes) -> list[bytes]:
    """Return `data` in pieces: in single bytes, or at a few places."""
    chance = random.Random(crc32(data))
    if len(data) < SHORT and chance.random() < 0.3:
        return [data[at : at + 1] for at in range(len(data))]
    return cut(data, (chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 6))))


def check_parser(make: Callable[[], Machine[bytes, Any]], data: bytes, *, most: int | None = None) -> None:
    """Check a machine that takes bytes; `most` is how many bytes heavier it may grow."""
    whole, cause = run(make(), [data])
    apart, other_cause = run(make(), cuts_of(data), most)
    assert (apart, str(other_cause)) == (whole, str(cause))
    assert cause is None or isinstance(cause, StreamError)


def run(machine: Machine[bytes, Any], chunks: list[bytes], most: int | None = None) -> tuple[str, Exception | None]:
    """Return what `machine` makes of `chunks`, written down, and the error that it ends in."""
    made: list[Any] = []
    empty = held_bytes(machine) if most is not None else 0
    try:
        for number, piece in enumerate(chunks, 1):
            made += machine.feed(piece)
            if most is not None and (len(chunks) < 8 or not number % SHORT):
                assert held_bytes(machine) <= empty + most + len(piece)
        made += machine.flush()
    except StreamError as error:
        return repr(made + completed_by(error)), error
    return repr(made), None


def check_dialect(dialect: Dialect[Any], data: bytes) -> None:
    """Check the reader of a dialect, from bytes to tokens."""
    whole = read(dialect, [data], raw_events=True)
    hold_together(whole)
    assert_same(read(dialect, cuts_of(data), raw_events=True), whole)


def check_messages(dialect: Dialect[Any], data: bytes) -> None:
    """Check the reader of a dialect of AWS: each line of `data` is an event, its kind before a tab."""
    check_dialect(dialect, b"".join(map(_event, data.split(b"\n"))))


def _event(line: bytes) -> bytes:
    kind, _, said = line.partition(b"\t")
    name = kind[:100].decode("utf-8", "replace")
    if name == "chunk":
        return chunk(said)
    if name.startswith("!"):
        return message({":exception-type": name[1:], ":message-type": "exception"}, said)
    return message({":event-type": name, ":message-type": "event"}, said)


def lines_of_messages(wire: bytes) -> bytes:
    """Return the messages of a recording as `check_messages` takes them."""
    lines: list[bytes] = []
    for _, read_message in parts(wire):
        if read_message is not None:
            headers = read_message.headers
            kind = headers.get(":event-type") or f"!{headers.get(':exception-type')}"
            lines.append(f"{kind}\t".encode() + inner_of(read_message).replace(b"\n", b" "))
    return b"\n".join(lines)


def check_event_stream(data: bytes) -> None:
    """Check the parser of event streams: on `data`, and on the same with the checksums set right."""
    for wire in (data, with_checksums(data)):
        check_parser(lambda: AwsEventStreamParser(LIMIT), wire, most=ROOM * 4 + 3 * LIMIT)


def with_checksums(data: bytes) -> bytes:
    """Return `data` with right lengths and checksums where a message may begin, as far as there are any."""
    made = bytearray(data)
    start = 0
    while len(made) - start >= 16:
        total = int.from_bytes(made[start : start + 4], "big") % 1_024
        total = max(16, min(total, len(made) - start))
        headers = int.from_bytes(made[start + 4 : start + 8], "big") % (total - 15)
        made[start : start + 8] = total.to_bytes(4, "big") + headers.to_bytes(4, "big")
        made[start + 8 : start + 12] = crc32(made[start : start + 8]).to_bytes(4, "big")
        made[start + total - 4 : start + total] = crc32(made[start : start + total - 4]).to_bytes(4, "big")
        start += total
    return bytes(made)


def check_tolerant_json(data: bytes) -> None:
    """Check the tolerant reader, as a value of any kind and as one of a declared type."""
    for read_it in (read_json, _shaped.read):
        with suppress(ProtocolError):
            read_it(data)
    try:
        strict = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return
    assert repr(read_json(data)) == repr(strict)


class _Inner(msgspec.Struct, tag="inner"):
    n: int = 0
    x: float | None = None
    names: list[str] = []


class _Other(msgspec.Struct, tag="other"):
    more: dict[str, int] = {}
    raw: msgspec.Raw = msgspec.Raw(b"null")


class _Shaped(msgspec.Struct):
    n: int
    of: _Inner | _Other | None = None
    items: list[_Inner | None] = []
    text: str = ""


_shaped = JsonReader(_Shaped)


def check_json_stream(data: bytes) -> None:
    """Check that a growing value comes to the same wherever its text is cut, and to what others read."""
    text = data.decode("utf-8", "replace")
    for make in (JsonGrower, partial(JsonGrower, embedded=True), partial(JsonGrower, elements_of=("items",))):
        whole, apart = grown(make(), [text]), grown(make(), in_parts(text))
        assert apart == whole
    small = JsonGrower(max_characters=LIMIT)
    for part in in_parts(text):
        small.feed(part)
    assert held_bytes(small) <= ROOM + 128 * LIMIT + 128 * max(map(len, in_parts(text)))
    check_value(text)


def grown(grower: JsonGrower, pieces: list[str]) -> tuple[str, bool, bool]:
    """Return what a value has grown to, and whether it is whole or none."""
    elements: list[Json] = []
    for piece in pieces:
        grower.feed(piece)
        elements += grower.take_elements()
    grower.finish()
    elements += grower.take_elements()
    return repr((elements, grower.value)), grower.is_complete, grower.is_malformed


def check_value(text: str) -> None:
    """Check that whole JSON grows to what Python's own reader makes of it."""
    try:
        value = json.loads(text, parse_int=integer, parse_constant=refuse, strict=False)
    except (ValueError, RecursionError):
        return
    grower = JsonGrower(max_depth=10_000)
    grower.feed(text)
    grower.finish()
    assert repr(grower.value) == repr(mend_value(value))


def refuse(constant: str) -> NoReturn:
    """Refuse `NaN` and its like."""
    raise ValueError(f"{constant} is not JSON")


def in_parts(text: str) -> list[str]:
    """Return `text` in pieces: in single characters, or cut at a few places."""
    chance = random.Random(crc32(text.encode("utf-8", "surrogatepass")))
    if len(text) < SHORT and chance.random() < 0.3:
        return list(text)
    places = sorted(chance.randrange(len(text) + 1) for _ in range(4))
    return [text[a:b] for a, b in pairwise([0, *places, len(text)])]


def check_recording(data: bytes) -> None:
    """Check that a line of a recording is whole or refused, and that only what was counted through is given."""
    reader = RecordingReader("a")
    given: list[Record] = []
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        for candidate in (line, sealed(line)):
            try:
                record = read_record(candidate)
            except FramingError:
                reader.note_damage(number)
                continue
            assert read_record(write_record(record)) == record
            try:
                given += reader.feed(record)
            except FramingError:
                return
            assert [one.number for one in given] == list(range(len(given)))


def sealed(line: bytes) -> bytes:
    """Return a line with the checksum that it ought to have."""
    inner = line[12:].rstrip(b"\r\n").removesuffix(b"]")
    return b'["%08x",%b]\n' % (crc32(inner), inner)


def some_records() -> list[bytes]:
    """Return a small recording, whole and with a failure."""
    began = Began("a", 0, 0.0, 1, "openai.chat", "some-model", None, {"content-type": "text/event-stream"})
    chunks = [Chunk.of("a", 1, 0.1, b"data: {}\n\n"), Chunk.of("a", 2, 0.25, b"\xff")]
    failure = Failure.of(OverloadedError("no room", status=503, partial=AssembledMessage(text="Half")))
    ends = [Ended("a", 3, 1.5, "completed"), Ended("a", 3, 1.5, "failed", failure)]
    return [b"".join(map(write_record, [began, *chunks, end])) for end in ends]


def fixtures(*of: Dialect[Any]) -> list[bytes]:
    """Return the recordings of our own of some dialects, or of all."""
    return [path.read_bytes() for each in of or map(dialect, dialects()) for path in fixtures_of(each)]


def lines() -> list[bytes]:
    """Return every recording of our own, and lines without an end."""
    return [*fixtures(), b"x" * 3_000, b": " + b"x" * 3_000, b"data: x\n" * 300]


def events_of(dialect: Dialect[Any]) -> list[bytes]:
    """Return the recordings of a dialect of AWS as `check_messages` takes them."""
    return [lines_of_messages(wire) for wire in fixtures(dialect)]


def said() -> list[bytes]:
    """Return the JSON in our recordings, each kind of it once."""
    found = [place.json for body in BODIES for number in range(len(body.events)) for place in body.places(number)]
    return sorted({text[:40]: text for text in [*found, *MORE_JSON]}.values())


def words_of(seeds: list[bytes]) -> set[bytes]:
    """Return the names and short texts in some bytes, and values that make trouble."""
    named = {word for seed in seeds for word in re.findall(rb'"[\w.:-]{1,40}"', seed)}
    return named | {value for value in BAD_VALUES.values() if len(value) < 100}


def _parsers() -> Iterator[Target]:
    limits = {"max_line_bytes": LIMIT, "max_event_bytes": LIMIT}
    kinds: dict[str, Callable[[], Machine[bytes, Any]]] = {
        "sse": partial(SseParser, **limits),
        "sse.lenient": partial(SseParser, lenient="whole", keep_unknown=True, **limits),
        "ndjson": partial(NdjsonParser, LIMIT, lenient="whole"),
        "ndjson.values": partial(ndjson_reader, max_line_bytes=LIMIT),
    }
    for name, make in kinds.items():
        yield Target(name, partial(check_parser, make, most=16 * LIMIT), lines)
    yield Target("aws_event_stream", check_event_stream, fixtures)
    yield Target("json_stream", check_json_stream, said)
    yield Target("tolerant_json", check_tolerant_json, said)
    yield Target("recording", check_recording, some_records)


def _decoders() -> Iterator[Target]:
    for each in map(dialect, dialects()):
        if isinstance(each.parser(), AwsEventStreamParser):
            yield Target(each.name, partial(check_messages, each), partial(events_of, each))
        else:
            yield Target(each.name, partial(check_dialect, each), partial(fixtures, each))


TARGETS = {target.name: target for target in [*_parsers(), *_decoders()]}
