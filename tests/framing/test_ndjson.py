"""Newline-delimited JSON: the laws of cutting, then case by case."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.errors import FramingError, StreamError, TransportError
from rxstream.framing import MalformedLineError, NdjsonParser, ndjson_reader
from rxstream.machine import Machine, completed_by
from tests.shared import needs_shared, shared_files

PIECES = [
    *(b'{"a":1}', b'{"a":1}\n', b'{"a":1}\r\n', b"[1,2]", b'"\xc3\xa9"', b'"\xe2\x80\xa8"', b"null", b"12"),
    *(b"\n", b"\r", b" ", b"\t", b"\x0c", b"\xef\xbb\xbf", b"\xff", b"{", b"NaN", b'"', b"data: x\n"),
]
WIRES = st.lists(st.sampled_from(PIECES)).map(b"".join) | st.binary()


def run(machine: Machine[bytes, Any], chunks: list[bytes]) -> tuple[list[Any], object]:
    """What `machine` made of `chunks`, and what is to be known of its error."""
    made: list[Any] = []
    try:
        for chunk in chunks:
            made += machine.feed(chunk)
        made += machine.flush()
    except StreamError as error:
        return made + completed_by(error), (type(error), str(error))
    return made, getattr(machine, "ended_mid_line", None)


def frames_of(wire: bytes, **options: Any) -> list[bytes]:
    frames, _ = run(NdjsonParser(**options), [wire])
    return frames


@given(wire=WIRES, data=st.data())
def test_where_the_chunks_are_cut_does_not_matter(wire: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(wire))).map(sorted))
    chunks = [wire[start:end] for start, end in pairwise([0, *cuts, len(wire)])]
    limit = data.draw(st.sampled_from([None, 4, 9]))
    lenient: Any = data.draw(st.sampled_from([False, True, "whole"]))
    skip = data.draw(st.booleans())

    frames = run(NdjsonParser(limit, lenient=lenient), [wire])
    values = run(ndjson_reader(skip_malformed=skip, max_line_bytes=limit), [wire])

    assert run(NdjsonParser(limit, lenient=lenient), chunks) == frames
    assert run(ndjson_reader(skip_malformed=skip, max_line_bytes=limit), chunks) == values


@given(wire=WIRES)
def test_frames_are_the_lines_that_are_not_blank(wire: bytes) -> None:
    lines = wire.removeprefix(b"\xef\xbb\xbf").split(b"\n")

    assert frames_of(wire) == [line.strip(b" \t\r") for line in lines if line.strip(b" \t\r")]


@given(values=st.lists(st.none() | st.integers() | st.text() | st.lists(st.booleans())))
def test_what_was_written_is_read(values: list[Any]) -> None:
    wire = "\n".join(json.dumps(value, ensure_ascii=False) for value in values).encode()

    assert run(ndjson_reader(), [wire]) == (values, None)


@pytest.mark.parametrize("lenient", [False, True, "whole"])
@pytest.mark.parametrize("rest", [b'{"a":', b'{"a":2}'])
def test_a_last_line_without_its_end_is_handed_out_as_asked(lenient: Any, rest: bytes) -> None:
    parser = NdjsonParser(lenient=lenient)
    parser.feed(b'{"a":1}\n' + rest)

    handed_out = lenient is True or (lenient == "whole" and rest == b'{"a":2}')
    assert parser.flush() == ([rest] if handed_out else [])
    assert parser.ended_mid_line


def test_a_whole_last_line_is_no_cut() -> None:
    parser = NdjsonParser()
    assert not parser.ended_mid_line

    assert parser.feed(b'{"a":1}\n') + parser.flush() == [b'{"a":1}']
    assert not parser.ended_mid_line


def test_nothing_unfinished_is_handed_out_when_the_input_broke() -> None:
    parser = NdjsonParser()
    parser.feed(b'{"a":1}')

    assert parser.fail(TransportError("the connection was reset")) == []
    assert parser.ended_mid_line


@pytest.mark.parametrize("piece_bytes", [1, 5, 1000])
def test_a_line_over_the_limit_is_an_error_after_what_was_whole(piece_bytes: int) -> None:
    wire = b'\n {"a":1} \n"0123456789"\n"01234567890"\n2\n'
    chunks = [wire[at : at + piece_bytes] for at in range(0, len(wire), piece_bytes)]

    frames, _ = run(NdjsonParser(12), chunks)
    values, error = run(ndjson_reader(max_line_bytes=12), chunks)

    assert frames == [b'{"a":1}', b'"0123456789"']
    assert values == [{"a": 1}, "0123456789"]
    assert error == (FramingError, "a line has more than 12 bytes")


def test_the_limit_is_named() -> None:
    with pytest.raises(FramingError) as caught:
        NdjsonParser(3).feed(b"1\n1234")

    assert (caught.value.limit, caught.value.frames) == ("line", [b"1"])


def test_a_line_of_a_mebibyte_in_small_pieces_is_one_frame() -> None:
    wire = b'"' + b"x" * 2**20 + b'"\n'

    frames, _ = run(NdjsonParser(), [wire[at : at + 64] for at in range(0, len(wire), 64)])

    assert frames == [wire[:-1]]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"{", "invalid_json"),
        (b'"\xff"', "invalid_utf8"),
        (b"Infinity", "invalid_json"),
        (b"\xef\xbb\xbf1", "invalid_json"),
        (b"\x0c", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
    ],
)
def test_a_malformed_line_is_an_error_with_its_number(line: bytes, kind: str) -> None:
    wire = b"1\n\n" + line + b"\n2"

    with pytest.raises(MalformedLineError) as caught:
        ndjson_reader().feed(wire)

    assert (caught.value.line, caught.value.kind, caught.value.frames) == (3, kind, [1])
    assert str(caught.value) == f"line 3 is not JSON ({kind})"
    assert run(ndjson_reader(skip_malformed=True), [wire]) == ([1, 2], None)


def test_lone_surrogates_and_long_integers_are_json() -> None:
    values, _ = run(ndjson_reader(), [b'"\\ud83d"\n' + b"9" * 5000])

    assert values == ["\ud83d", float("inf")]


def test_a_malformed_line_takes_the_facts_that_any_error_takes() -> None:
    error = MalformedLineError(3, "invalid_json", provider="acme", request_id="r1")

    assert (error.provider, error.request_id) == ("acme", "r1")


RECORDINGS = shared_files("captures/*/*.ndjson")


@needs_shared
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recordings_hold_as_many_lines_as_they_say(path: Path) -> None:
    about = json.loads(path.with_suffix(".json").read_bytes())

    values, error = run(ndjson_reader(), [path.read_bytes()])

    assert error is None
    assert len(values) == len(frames_of(path.read_bytes())) == about["expect"]["event_count"]
