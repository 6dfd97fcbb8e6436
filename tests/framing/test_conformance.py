"""The language-neutral vectors of ../shared/conformance, run as its README says."""

import base64
import random
from collections.abc import Callable, Iterator
from functools import reduce
from itertools import pairwise
from operator import getitem
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from rxstream.errors import FramingError
from rxstream.framing import MalformedLineError, SseEvent, SseParser, ndjson_reader
from rxstream.machine import Machine, completed_by
from tests.shared import SHARED, needs_shared

CONFORMANCE = SHARED / "conformance"
TIMES_CUT = 5


class Part(Struct):
    b64: str
    repeat: int


class TextPart(Struct):
    text: str
    repeat: int


class ExpectedEvent(Struct):
    event: str
    id: str
    data: str = ""
    data_parts: list[TextPart] = []
    retry: int | None = None

    @property
    def facts(self) -> tuple[str, str, str, int | None]:
        data = "".join(part.text * part.repeat for part in self.data_parts) or self.data
        return self.event, data, self.id, self.retry


class Outcome(Struct):
    expected: list[ExpectedEvent]
    last_event_id: str
    retry: int | None


class Input(Struct, kw_only=True):
    name: str
    input_b64: str = ""
    chunks_b64: list[str] = []
    input_parts: list[Part] = []
    heavy: bool = False

    @property
    def chunks(self) -> list[bytes]:
        return [base64.b64decode(chunk) for chunk in self.chunks_b64]

    @property
    def wire(self) -> bytes:
        parts = [base64.b64decode(part.b64) * part.repeat for part in self.input_parts]
        return base64.b64decode(self.input_b64) + b"".join(parts + self.chunks)

    def ways_to_cut(self) -> Iterator[list[bytes]]:
        wire = self.wire
        yield [wire]
        if not self.heavy:
            yield [wire[at : at + 1] for at in range(len(wire))]
        dice = random.Random(self.name)
        for _ in range(TIMES_CUT):
            cuts = sorted(dice.randint(0, len(wire)) for _ in range(dice.randint(1, 40)))
            yield [wire[start:end] for start, end in pairwise([0, *cuts, len(wire)])]
        yield self.chunks or [wire]


class SseVector(Input, kw_only=True):
    initial_last_event_id: str = ""
    events_after_chunk: list[int] = []
    expected: list[ExpectedEvent]
    last_event_id: str
    retry: int | None
    expected_repeat: int = 1
    retry_any_of: list[int | None] = []
    retry_unchecked: bool = False


class EndVector(Input, kw_only=True):
    ended_mid_line: bool
    ended_mid_event: bool
    strict: Outcome
    lenient: Outcome


class LimitVector(Input, kw_only=True):
    max_line_bytes: int | None
    max_event_bytes: int | None
    expected: list[ExpectedEvent]
    error: str | None
    expected_repeat: int = 1


class SseFile(Struct):
    vectors: list[SseVector] = []
    end_of_stream: list[EndVector] = []
    limits: list[LimitVector] = []


class Problem(Struct):
    line: int
    kind: str


class ValueCheck(Struct):
    path: list[str]
    length: int


class NdjsonVector(Input, kw_only=True):
    values: list[Any] | None
    error: Problem | None
    values_when_skipping: list[Any] | None = None
    value_checks: list[ValueCheck] = []
    value_or_error: bool = False


class NdjsonFile(Struct):
    vectors: list[NdjsonVector] = []


SSE = msgspec.json.decode((CONFORMANCE / "sse.json").read_bytes(), type=SseFile) if SHARED.is_dir() else SseFile()
NDJSON = (
    msgspec.json.decode((CONFORMANCE / "ndjson.json").read_bytes(), type=NdjsonFile)
    if SHARED.is_dir()
    else NdjsonFile()
)


def each(vectors: list[Any]) -> Callable[[Any], Any]:
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector.name)


def run(machine: Machine[bytes, Any], chunks: list[bytes]) -> tuple[list[Any], Exception | None]:
    """What `machine` made of `chunks`, and what it raised in the end."""
    made: list[Any] = []
    try:
        for chunk in chunks:
            made += machine.feed(chunk)
        made += machine.flush()
    except FramingError as error:
        return made + completed_by(error), error
    return made, None


def facts(events: list[SseEvent]) -> list[tuple[str, str, str, int | None]]:
    return [(event.event, event.text, event.id, event.retry) for event in events]


@needs_shared
@each(SSE.vectors)
def test_sse_is_read_as_the_standard_says(vector: SseVector) -> None:
    expected = [event.facts for event in vector.expected * vector.expected_repeat]
    for chunks in vector.ways_to_cut():
        parser = SseParser(last_event_id=vector.initial_last_event_id)

        events, error = run(parser, chunks)

        assert error is None
        assert parser.last_event_id == vector.last_event_id
        if vector.retry_unchecked:
            assert [fact[:3] for fact in facts(events)] == [fact[:3] for fact in expected]
        else:
            assert facts(events) == expected
            assert parser.retry in (vector.retry_any_of or [vector.retry])


@needs_shared
@each([vector for vector in SSE.vectors if vector.events_after_chunk])
def test_an_event_is_handed_out_with_the_chunk_that_completes_it(vector: SseVector) -> None:
    parser = SseParser()
    counts = [len(parser.feed(chunk)) for chunk in vector.chunks]

    assert [sum(counts[: at + 1]) for at in range(len(counts))] == vector.events_after_chunk


@needs_shared
@each(SSE.vectors)
def test_keeping_unknown_lines_changes_no_event(vector: SseVector) -> None:
    for chunks in vector.ways_to_cut():
        plain, _ = run(SseParser(), chunks)
        kept, error = run(SseParser(keep_unknown=True), chunks)

        assert error is None
        assert [event for event in kept if type(event) is SseEvent] == plain


@needs_shared
@each(SSE.end_of_stream)
def test_the_end_is_strict_or_lenient_as_asked(vector: EndVector) -> None:
    for chunks in vector.ways_to_cut():
        for lenient, outcome in ((False, vector.strict), (True, vector.lenient)):
            parser = SseParser(lenient=lenient)

            events, error = run(parser, chunks)

            assert error is None
            assert facts(events) == [event.facts for event in outcome.expected]
            assert (parser.last_event_id, parser.retry) == (outcome.last_event_id, outcome.retry)
            assert parser.ended_mid_line == vector.ended_mid_line
            assert parser.ended_mid_event == vector.ended_mid_event


@needs_shared
@each(SSE.limits)
def test_limits_are_errors_after_what_was_whole(vector: LimitVector) -> None:
    for chunks in vector.ways_to_cut():
        parser = SseParser(max_line_bytes=vector.max_line_bytes, max_event_bytes=vector.max_event_bytes)

        events, error = run(parser, chunks)

        assert facts(events) == [event.facts for event in vector.expected * vector.expected_repeat]
        assert (error.limit if isinstance(error, FramingError) else None) == vector.error


@needs_shared
@each([vector for vector in NDJSON.vectors if not vector.value_or_error])
def test_ndjson_is_read_to_the_first_error(vector: NdjsonVector) -> None:
    for chunks in vector.ways_to_cut():
        values, error = run(ndjson_reader(), chunks)

        problem = Problem(error.line, error.kind or "") if isinstance(error, MalformedLineError) else None
        assert problem == vector.error
        if vector.values is not None:
            assert values == vector.values
        for check in vector.value_checks:
            assert len(reduce(getitem, check.path, values[0])) == check.length


@needs_shared
@each([vector for vector in NDJSON.vectors if vector.values_when_skipping is not None])
def test_malformed_lines_are_skipped_when_asked(vector: NdjsonVector) -> None:
    for chunks in vector.ways_to_cut():
        assert run(ndjson_reader(skip_malformed=True), chunks) == (vector.values_when_skipping, None)


@needs_shared
@each([vector for vector in NDJSON.vectors if vector.value_or_error])
def test_what_python_can_not_hold_is_a_value_or_an_error_of_its_line(vector: NdjsonVector) -> None:
    for chunks in vector.ways_to_cut():
        _, error = run(ndjson_reader(), chunks)
        values, _ = run(ndjson_reader(skip_malformed=True), chunks)

        assert error is None or (isinstance(error, MalformedLineError) and error.line == 1)
        assert values[-1] == {"a": 2}
