"""Server-sent events against a plain transcription of the standard, then case by case."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.errors import FramingError, ProtocolError, TransportError
from rxstream.framing import SseEvent, SseParser, UnknownLines
from tests.shared import needs_shared, shared_files

DATA = [
    b"data: x",
    b"data: x",
    b"data:y",
    b"data",
    b'data: {"a": 1}',
    b"data: [DONE]",
    b"data: \xc3\xa9",
    b"data: \xff",
]
NAMES = [b"event: ping", b"event: ping", b"event:", b"event: ", b"event: e\xff"]
OTHERS = [
    b"id: 7",
    b"id: a\0b",
    b"id",
    b"retry: 12",
    b"retry: 9 ",
    b"retry:",
    b": comment",
    b":",
    b"\xef\xbb\xbfdata: z",
]
UNKNOWN_JSON = [b"error: {}", b"error: {", b'{"error": "}', b'{"error": 1', b"}", b"]", b'"\\"']
UNKNOWN_TEXT = [b"plain text", b"unknown: y", b"Data: w", b" "]
LINES = [*DATA, *NAMES, *OTHERS, *UNKNOWN_JSON, *UNKNOWN_TEXT]
LINE_ENDS = [
    [b"\n", b"\n\n"],
    [b"\r\n", b"\r\n\r\n"],
    [b"\n\n"],
    [b"\n", b"\n\n", b"\n\n\n", b"\r", b"\r\r", b"\r\n", b"\r\n\r\n", b""],
]


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """Streams with every kind of line; the blank start lets the first event take the short way too."""
    start = draw(st.sampled_from([b"\n", b"\n", b"", b"\xef\xbb\xbf", b"\xef\xbb"]))
    ends = draw(st.sampled_from(LINE_ENDS))
    lines = draw(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(ends)), max_size=12))
    return start + b"".join(line + end for line, end in lines)


OPTIONS = st.fixed_dictionaries(
    {
        "last_event_id": st.sampled_from(["", "before"]),
        "lenient": st.sampled_from([False, True, "whole"]),
        "keep_unknown": st.booleans(),
        "max_line_bytes": st.sampled_from([None, 4, 12, 1 << 20]),
        "max_event_bytes": st.sampled_from([None, 4, 12, 1 << 20]),
    }
)


def standard(wire: bytes, *, lenient: bool) -> tuple[list[SseEvent], str, int | None]:
    """WHATWG HTML, "Parsing an event stream" and "Interpreting an event stream", word for word.

    Lenient is a line end and a blank line added to what is unfinished.
    """
    text = wire.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, rest = re.split("\r\n|\n|\r", text)
    if lenient:
        lines += [rest, ""] if rest else [""]
    events: list[SseEvent] = []
    data_buffer, event_type_buffer, last_event_id_buffer, last_event_id = "", "", "", ""
    retry: int | None = None
    for line in lines:
        if line == "":
            last_event_id = last_event_id_buffer
            if data_buffer != "":
                data = data_buffer[:-1].encode()
                events.append(SseEvent(event_type_buffer or "message", data, last_event_id, retry))
            data_buffer, event_type_buffer = "", ""
            continue
        if line.startswith(":"):
            continue
        field, colon, value = line.partition(":")
        value = value[1:] if colon and value.startswith(" ") else value
        if field == "event":
            event_type_buffer = value
        elif field == "data":
            data_buffer += value + "\n"
        elif field == "id" and "\0" not in value:
            last_event_id_buffer = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value)
    return events, last_event_id, retry


def run(parser: SseParser, chunks: list[bytes]) -> tuple[list[SseEvent], object]:
    """The events of `chunks`, and which limit was passed or how the parser stood at the end."""
    events: list[SseEvent] = []
    try:
        for chunk in chunks:
            events += parser.feed(chunk)
        events += parser.flush()
    except FramingError as error:
        return events + error.frames, error.limit
    return events, (parser.last_event_id, parser.retry, parser.ended_mid_line, parser.ended_mid_event)


def events_of(wire: bytes, **options: Any) -> list[SseEvent]:
    events, _ = run(SseParser(**options), [wire])
    return events


def as_text(events: list[SseEvent]) -> list[SseEvent]:
    """The events with data that is valid UTF-8."""
    return [msgspec.structs.replace(event, data=event.text.encode()) for event in events]


def message(data: bytes) -> SseEvent:
    return SseEvent("message", data)


STANDARD: list[tuple[str, bytes, list[SseEvent]]] = [
    ("values of one event are joined", b"data: a\ndata:b\ndata\n\n", [message(b"a\nb\n")]),
    ("also between other fields", b"data: a\nid: 1\n: no\ndata: b\n\n", [SseEvent("message", b"a\nb", "1")]),
    ("one space is dropped", b"data:  a \n\n", [message(b" a ")]),
    ("the last name counts", b"event: a\nevent: b\ndata: 1\n\n", [SseEvent("b", b"1")]),
    ("an empty name is none", b"event: \ndata: 1\n\n", [message(b"1")]),
    ("a name alone is no event", b"event: a\n\ndata: 1\n\n", [message(b"1")]),
    ("several lines after a name", b"event: a\ndata: 1\ndata: 2\n\n", [SseEvent("a", b"1\n2")]),
    ("a name may be no UTF-8", b"event: e\xff\ndata: 1\n\n", [SseEvent("e\ufffd", b"1")]),
    ("an id counts from the blank line on", b"id: 1\n\ndata: a\n\n", [SseEvent("message", b"a", "1")]),
    ("an id with a NUL does not count", b"id: 1\nid: 2\0\ndata: a\n\n", [SseEvent("message", b"a", "1")]),
    ("an unfinished event is none", b"data: a\n\ndata: b\n", [message(b"a")]),
    ("digits are a time", b"retry: 007\nretry: 8 \nretry: -9\ndata: a\n\n", [SseEvent("message", b"a", "", 7)]),
    ("CR LF ends lines", b"data: a\r\ndata: b\r\n\r\n", [message(b"a\nb")]),
    ("CR ends lines", b"data: a\rdata: b\r\r", [message(b"a\nb")]),
    ("nothing else does", b"data: a\x85\x0b\xe2\x80\xa8\n\n", [message(b"a\x85\x0b\xe2\x80\xa8")]),
    ("other fields between name and data", b"event: a\nid: 1\ndata: 1\n\n", [SseEvent("a", b"1", "1")]),
    ("a BOM that is not at the start spoils its line", b"\n\xef\xbb\xbfdata: a\n\n", []),
    ("comments and blank lines are nothing", b"\n\n: a\n\n:\n\n\ndata: a\n\n", [message(b"a")]),
]


@pytest.mark.parametrize(("wire", "expected"), [case[1:] for case in STANDARD], ids=[case[0] for case in STANDARD])
def test_the_rules_of_the_standard(wire: bytes, expected: list[SseEvent]) -> None:
    pieces = [wire[at : at + 1] for at in range(len(wire))]

    assert events_of(wire) == expected
    assert events_of(b"\n" + wire) == expected
    assert run(SseParser(), pieces)[0] == expected
    assert standard(wire, lenient=False)[0] == as_text(expected)


@pytest.mark.parametrize(
    ("wire", "expected"), [(b"data: a\n\n", [message(b"a")]), (b"\n", []), (b"\xef\xbb\xbfdata: a\n\n", [])]
)
def test_one_byte_order_mark_at_the_start_is_dropped(wire: bytes, expected: list[SseEvent]) -> None:
    wire = b"\xef\xbb\xbf" + wire

    assert events_of(wire) == expected
    assert run(SseParser(), [wire[at : at + 1] for at in range(len(wire))])[0] == expected


def test_a_byte_order_mark_counts_as_part_of_its_line() -> None:
    wire = b"\xef\xbb\xbfdata: a\n\n"

    assert run(SseParser(max_line_bytes=9), [wire]) == run(SseParser(max_line_bytes=9), [wire[:10], wire[10:]])


@pytest.mark.parametrize(
    ("wire", "mid_line", "mid_event"),
    [
        (b"data: a\n\n", False, False),
        (b"data: a\n", False, True),
        (b"data: a", True, True),
        (b"data: a\n\n: b", True, False),
        (b"data: a\n\n: b\n", False, False),
        (b"unknown\n", False, True),
        (b"unk", True, True),
    ],
)
def test_it_says_where_the_input_ended(wire: bytes, mid_line: bool, mid_event: bool) -> None:
    parser = SseParser()
    assert (parser.ended_mid_line, parser.ended_mid_event) == (False, False)

    run(parser, [wire])

    assert (parser.ended_mid_line, parser.ended_mid_event) == (mid_line, mid_event)


def test_an_event_may_be_cut_between_its_lines() -> None:
    parser = SseParser()

    assert parser.feed(b"\nevent: a\n") == []
    assert parser.feed(b"data: 1\n\ndata: 2\n\n") == [SseEvent("a", b"1"), message(b"2")]


def test_a_cr_ends_its_line_at_once_and_an_lf_after_it_is_no_other() -> None:
    parser = SseParser()

    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"") == []
    assert parser.feed(b"\n\r") == [message(b"a")]
    assert parser.feed(b"\ndata: b\r\r") == [message(b"b")]
    assert parser.feed(b"data: c\r") == []
    assert parser.feed(b"\n\n") == [message(b"c")]


@given(wire=wires(), lenient=st.booleans())
def test_it_reads_what_the_standard_reads(wire: bytes, lenient: bool) -> None:
    parser = SseParser(lenient=lenient)

    events = parser.feed(wire) + parser.flush()

    assert (as_text(events), parser.last_event_id, parser.retry) == standard(wire, lenient=lenient)


@given(wire=wires() | st.binary(), options=OPTIONS, data=st.data())
def test_where_the_chunks_are_cut_does_not_matter(wire: bytes, options: dict[str, Any], data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(wire))).map(sorted))
    chunks = [wire[start:end] for start, end in pairwise([0, *cuts, len(wire)])]

    whole = run(SseParser(**options), [wire])

    assert run(SseParser(**options), chunks) == whole
    assert run(SseParser(**options), wire.splitlines(keepends=True)) == whole
    assert run(SseParser(**options), [wire[at : at + 1] for at in range(len(wire))]) == whole


QUICK = re.compile(rb"data: (x)\n\n")


@given(wire=wires(), options=OPTIONS, data=st.data())
def test_skimming_changes_nothing_but_who_reads_an_event(
    wire: bytes, options: dict[str, Any], data: st.DataObject
) -> None:
    parser, made = SseParser(**options), list[SseEvent]()

    def skim(chunk: bytes, start: int) -> int:
        while (event := QUICK.match(chunk, start)) is not None:
            made.append(SseEvent("message", event[1], parser.last_event_id, parser.retry))
            start = event.end()
        return start

    cut = data.draw(st.integers(0, len(wire)))
    try:
        for chunk in (wire[:cut], wire[cut:]):
            parser.feed_into(chunk, made.append, skim)
        made += parser.flush()
    except FramingError as error:
        ended: object = error.limit
        made += error.frames
    else:
        ended = (parser.last_event_id, parser.retry, parser.ended_mid_line, parser.ended_mid_event)

    assert (made, ended) == run(SseParser(**options), [wire])


def test_skimming_is_asked_wherever_an_event_begins_and_reads_as_far_as_it_can() -> None:
    asked: list[bytes] = []

    def skim(chunk: bytes, start: int) -> int:
        asked.append(chunk[start:])
        return start + len(b"data: x\n\n") * chunk.startswith(b"data: x\n\n", start)

    made: list[SseEvent] = []
    SseParser().feed_into(b"\ndata: x\n\ndata: y\n\nevent: e\ndata: z\n\ndata: x\n\ndata", made.append, skim)

    assert made == [message(b"y"), SseEvent("e", b"z")]
    assert asked == [
        b"data: x\n\ndata: y\n\nevent: e\ndata: z\n\ndata: x\n\ndata",
        b"event: e\ndata: z\n\ndata: x\n\ndata",
        b"data: x\n\ndata",
    ]


@given(wire=wires(), lenient=st.booleans())
def test_keeping_unknown_lines_changes_no_event(wire: bytes, lenient: bool) -> None:
    events = events_of(wire, lenient=lenient)
    kept = events_of(wire, lenient=lenient, keep_unknown=True)

    assert [event for event in kept if not isinstance(event, UnknownLines)] == events


@given(wire=wires())
def test_no_unknown_line_is_lost(wire: bytes) -> None:
    text = wire.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = text.split(b"\n")
    unknown = [
        line for line in lines if line and line.partition(b":")[0] not in (b"", b"data", b"event", b"id", b"retry")
    ]

    kept = [event for event in events_of(wire, lenient=True, keep_unknown=True) if isinstance(event, UnknownLines)]

    assert b"".join(unknown).replace(b" ", b"") == b"".join(
        (event.event + ":" if event.event else "").encode() + event.data.replace(b"\n", b"").replace(b" ", b"")
        for event in kept
    )


@given(wire=wires())
def test_lenient_about_whole_data_is_strict_or_lenient(wire: bytes) -> None:
    strict, lenient = events_of(wire), events_of(wire, lenient=True)

    assert events_of(wire, lenient="whole") in (strict, lenient)


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("data", [b'{"a": 1}', b"[DONE]", b'{"half": "\\ud83d"}', b"null"])
def test_whole_data_without_its_blank_line_is_handed_out(data: bytes, end: bytes) -> None:
    parser = SseParser(lenient="whole")

    assert parser.feed(b"id: 5\ndata: " + data + end) == []
    assert parser.flush() == [SseEvent("message", data, "5")]
    assert parser.ended_mid_event


@pytest.mark.parametrize("data", [b'{"a": "tru', b"[DON", b'{"a": 1}\ndata: ,'])
def test_cut_off_data_is_handed_out_only_if_asked(data: bytes) -> None:
    wire = b"id: 5\ndata: " + data
    parser = SseParser(lenient="whole")

    assert run(parser, [wire])[0] == []
    assert parser.ended_mid_event
    assert parser.last_event_id == ""
    assert len(events_of(wire, lenient=True)) == 1


@pytest.mark.parametrize("lenient", [False, True, "whole"])
def test_nothing_unfinished_is_handed_out_when_the_input_broke(lenient: Any) -> None:
    parser = SseParser(lenient=lenient, keep_unknown=True)
    parser.feed(b'{"error":\ndata: {"a": 1}')

    assert parser.fail(TransportError("the connection was reset")) == []
    assert (parser.ended_mid_line, parser.ended_mid_event) == (True, True)


def test_data_is_bytes_and_read_only_when_asked() -> None:
    (event,) = events_of(b'data: {"n": 1.0, "text": "\xff"}\n\n')

    assert event.data == b'{"n": 1.0, "text": "\xff"}'
    assert event.text == '{"n": 1.0, "text": "\ufffd"}'
    assert event.json() == {"n": 1.0, "text": "\ufffd"}
    assert event.json(dict[str, int | str]) == {"n": 1, "text": "\ufffd"}
    with pytest.raises(ProtocolError):
        event.json(list[int])


@pytest.mark.parametrize(
    ("data", "is_done"), [(b"[DONE]", True), (b" [DONE]\t ", True), (b"[done]", False), (b"", False)]
)
def test_done_is_the_whole_data(data: bytes, is_done: bool) -> None:
    assert message(data).is_done is is_done


def test_the_time_to_reconnect_and_the_id_stay_in_force() -> None:
    events = events_of(b"retry: 0250\nid: 7\n\ndata: a\n\nretry: 9" + b"9" * 5000 + b"\ndata: b\n\n")

    assert events == [SseEvent("message", b"a", "7", 250), SseEvent("message", b"b", "7", 250)]


def test_a_time_of_more_than_18_digits_is_none() -> None:
    assert SseParser().feed(b"\nretry: 00" + b"9" * 18 + b"\ndata: a\n\n")[0].retry == 10**18 - 1
    assert SseParser().feed(b"\nretry: " + b"9" * 19 + b"\ndata: a\n\n")[0].retry is None


@pytest.mark.parametrize("event", [message(b"x"), SseEvent("e", b"x"), UnknownLines("error", b"x")])
def test_they_are_handed_out_with_events_of_every_shape(event: SseEvent) -> None:
    shapes = {"message": b"data: x", "e": b"event: e\ndata: x", "error": b"error: x"}
    wire = b"retry: 250\nid: 7\n\n" + shapes[event.event] + b"\n\n"

    assert events_of(wire, keep_unknown=True) == [msgspec.structs.replace(event, id="7", retry=250)]


def test_the_default_limits_admit_an_inline_image() -> None:
    wire = b"data: " + b"x" * 2**20 + b"\n\n"
    pieces = [wire[at : at + 64] for at in range(0, len(wire), 64)]

    assert run(SseParser(), pieces)[0] == [message(b"x" * 2**20)]


@pytest.mark.parametrize(
    ("wire", "limit"),
    [(b"data: a\n\ndata: b\n\n: " + b"x" * 20, "line"), (b"data: a\n\ndata: b\n\n" + b"data\n" * 11, "event")],
)
def test_a_passed_limit_carries_what_the_chunk_had_completed(wire: bytes, limit: str) -> None:
    parser = SseParser(max_line_bytes=20, max_event_bytes=9)

    with pytest.raises(FramingError) as caught:
        parser.feed(wire)

    assert caught.value.limit == limit
    assert caught.value.frames == [message(b"a"), message(b"b")]
    assert "x" * 20 not in str(caught.value)


@pytest.mark.parametrize(("limit", "options"), [("line", {"max_line_bytes": 10}), ("event", {"max_event_bytes": 4})])
@pytest.mark.parametrize(
    "wire", [b"data: 12345\n\n", b"event: e\ndata: 12345\n\n", b"data: 12345\r\r", b"data: 12345\nid: 1"]
)
def test_a_limit_holds_for_events_of_every_shape(wire: bytes, limit: str, options: Any) -> None:
    fits = wire.replace(b"5", b"")

    assert run(SseParser(**options), [b"data: 1\n\n", b"data: 2\n\n" + wire]) == ([message(b"1"), message(b"2")], limit)
    assert limit not in run(SseParser(**options), [fits])


def test_an_endless_line_is_stopped_at_the_limit() -> None:
    _, limit = run(SseParser(max_line_bytes=1000), [b"x" * 64] * 15)
    _, passed = run(SseParser(max_line_bytes=1000), [b"x" * 64] * 16)

    assert limit != "line"
    assert passed == "line"


def test_what_reaches_a_limit_has_not_passed_it() -> None:
    wire = b"data: 123\ndata: 45\ndata: 6\n\n"
    data = message(b"123\n45\n6")

    assert run(SseParser(max_line_bytes=9), [wire])[0] == [data]
    assert run(SseParser(max_line_bytes=8), [wire]) == ([], "line")
    assert run(SseParser(max_event_bytes=8), [wire])[0] == [data]
    assert run(SseParser(max_event_bytes=7), [wire]) == ([], "event")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"max_line_bytes": 10}, "a line has more than 10 bytes"), ({"max_event_bytes": 4}, "more than 4 bytes of data")],
)
def test_a_passed_limit_says_how_much_it_admits(options: Any, said: str) -> None:
    with pytest.raises(FramingError, match=said):
        SseParser(**options).feed(b"data: 12345\n\n")


UNKNOWN: list[tuple[str, bytes, list[SseEvent]]] = [
    ("a field of another name", b'error: {"code": 400}\n\n', [UnknownLines("error", b'{"code": 400}')]),
    ("without a space", b"error:x\n", [UnknownLines("error", b"x")]),
    ("a field that opens a bracket", b'error: {\n "code": 1}\n', [UnknownLines("error", b'{\n "code": 1}')]),
    ("one line of JSON", b'{"error": 1}\n', [UnknownLines("", b'{"error": 1}')]),
    (
        "JSON over several lines, one of them blank",
        b'{\n  "error": {\n\n    "message": "a } or \\" ]"\n  }\n}\ndata: x\n\n',
        [UnknownLines("", b'{\n  "error": {\n    "message": "a } or \\" ]"\n  }\n}'), message(b"x")],
    ),
    ("JSON that is indented", b'  {\n "error": 1}\n', [UnknownLines("", b'  {\n "error": 1}')]),
    (
        "an array, and what follows it",
        b"[1,\n[2]]\nplain\n",
        [UnknownLines("", b"[1,\n[2]]"), UnknownLines("", b"plain")],
    ),
    ("brackets in a text", b"Bad [ {\nplain\n", [UnknownLines("", b"Bad [ {"), UnknownLines("", b"plain")]),
    ("JSON at the end of the body", b'[{\n"error": 1}]', [UnknownLines("", b'[{\n"error": 1}]')]),
    (
        "JSON that an event interrupts",
        b'{"error":\n\ndata: x\n\ndata: y\n\n',
        [UnknownLines("", b'{"error":'), message(b"x"), message(b"y")],
    ),
    ("JSON that the end interrupts", b'{"error":\n', [UnknownLines("", b'{"error":')]),
    (
        "inside an event, which stays as it is",
        b'data: a\nerror: {"code": 1}\ndata: b\n\n',
        [UnknownLines("error", b'{"code": 1}'), message(b"a\nb")],
    ),
    (
        "lines of text",
        b'Bad Gateway\n  "message": "x"\n<p class="y: z">\n',
        [UnknownLines("", line) for line in (b"Bad Gateway", b'  "message": "x"', b'<p class="y: z">')],
    ),
    ("no comment and no blank line", b": ping\n\n: ping\n\n", []),
]


@pytest.mark.parametrize(("wire", "expected"), [case[1:] for case in UNKNOWN], ids=[case[0] for case in UNKNOWN])
def test_unknown_lines_are_kept_when_asked(wire: bytes, expected: list[SseEvent]) -> None:
    assert events_of(wire, lenient="whole", keep_unknown=True) == expected


def test_an_error_is_handed_out_as_soon_as_its_json_is_whole() -> None:
    parser = SseParser(keep_unknown=True)

    assert parser.feed(b'{\n "error": 1\n') == []
    assert parser.feed(b"}\n") == [UnknownLines("", b'{\n "error": 1\n}')]


def test_a_limit_passed_at_the_end_carries_what_the_end_completed() -> None:
    parser = SseParser(lenient=True, keep_unknown=True, max_event_bytes=4)
    parser.feed(b"{\ndata: 12345")

    with pytest.raises(FramingError) as caught:
        parser.flush()

    assert (caught.value.limit, caught.value.frames) == ("event", [UnknownLines("", b"{")])


@pytest.mark.parametrize("limit", [5, 6])
def test_unknown_json_is_bounded_and_never_an_error(limit: int) -> None:
    events = events_of(b"{\n" * 10 + b"data: x\n\n", keep_unknown=True, max_event_bytes=limit)

    assert events == [*[UnknownLines("", b"{\n{\n{\n{")] * 2, UnknownLines("", b"{\n{"), message(b"x")]


RECORDINGS = shared_files("captures/*/*.sse")


def each_recording(test: Callable[..., None]) -> Callable[..., None]:
    return needs_shared(
        pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: f"{path.parent.name}/{path.stem}")(test)
    )


@each_recording
def test_recordings_hold_as_many_events_as_they_say(path: Path) -> None:
    about = json.loads(path.with_suffix(".json").read_bytes())
    flushed = about["expect"] | about.get("expect_if_tail_flushed", {})

    strict, whole = events_of(path.read_bytes()), events_of(path.read_bytes(), lenient="whole")

    assert len(strict) == about["expect"]["event_count"]
    assert len(whole) == flushed["event_count"]
    assert any(event.is_done for event in whole) == flushed["done_marker"]
    assert all(event.is_done or event.json() for event in whole)


@needs_shared
def test_the_error_between_gemini_events_is_kept() -> None:
    (path,) = shared_files("captures/gemini/error-mid-stream.sse")

    *events, error = events_of(path.read_bytes(), lenient="whole", keep_unknown=True)

    assert [type(event) for event in events] == [SseEvent, SseEvent]
    assert isinstance(error, UnknownLines)
    assert error.json()["error"]["status"] == "CANCELLED"
