"""The lines of a recording: whatever was written is read, and whatever else is noticed."""

import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxstream.errors import FramingError, OverloadedError, StreamError, TransportError, TruncatedStreamError
from rxstream.framing.recording import (
    Began,
    Chunk,
    Ended,
    Failure,
    Record,
    RecordingReader,
    Token,
    looks_like_recording,
    read_record,
    write_record,
)
from rxstream.messages import AssembledMessage
from tests.recordings import errors
from tests.strategies import tokens


@given(st.binary(), st.floats(0, 1e6))
def test_any_bytes_are_one_line_and_the_same_again(data: bytes, at: float) -> None:
    line = write_record(Chunk.of("id", 1, at, data))

    again = read_record(line)

    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert isinstance(again, Chunk)
    assert (again.data, again.at) == (data, at)


@given(tokens)
def test_any_token_is_the_same_again(token: Any) -> None:
    assert read_record(write_record(Token("id", 1, 0.5, token))) == Token("id", 1, 0.5, token)


@given(errors)
@example(FramingError("too long", limit="line", is_retryable=False))
def test_any_error_is_the_same_again(error: StreamError) -> None:
    record = read_record(write_record(Ended("id", 1, 0.5, "failed", Failure.of(error))))

    assert isinstance(record, Ended)
    assert record.error is not None
    assert type(record.error) is type(error)
    assert vars(record.error) == vars(error) | {"completed": []}
    assert (str(record.error), record.error.args) == (str(error), error.args)


def test_an_error_of_another_library_is_known_by_its_class_alone() -> None:
    failure = Failure.of(ValueError("what a user wrote"))

    assert failure == Failure(["ValueError"])
    assert type(failure.as_error()) is TransportError
    assert str(failure.as_error()) == "the source of the stream failed (ValueError)"
    assert str(Failure([]).as_error()) == "the source of the stream failed (unknown)"


def test_an_error_of_a_later_version_is_the_nearest_that_is_known() -> None:
    assert type(Failure(["LaterError", "OverloadedError", "StreamError"], "full").as_error()) is OverloadedError


def test_half_a_character_in_an_error_does_not_lose_it() -> None:
    error = OverloadedError("no \ud83d room", partial=AssembledMessage(text="\ud83d"))

    record = read_record(write_record(Ended("id", 1, 0.5, "failed", Failure.of(error))))

    assert isinstance(record, Ended)
    assert record.error is not None
    assert (record.error.message, record.error.partial) == ("no \ufffd room", AssembledMessage(text="\ufffd"))


@given(tokens, st.data())
def test_a_changed_byte_is_noticed(token: Any, data: st.DataObject) -> None:
    line = bytearray(write_record(Token("id", 1, 0.5, token)))
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= data.draw(st.integers(1, 255))

    with pytest.raises(StreamError, match="no whole record"):
        read_record(bytes(line))


@pytest.mark.parametrize("json", [b"{}", b'{"type":"Began"}', b"[" * 100_000, b'"\xff"', b'{"type":"Later"}'])
def test_a_whole_line_that_is_no_record_is_noticed(json: bytes) -> None:
    with pytest.raises(StreamError, match="no recording of this version"):
        read_record(b'["%08x",%b]\n' % (zlib.crc32(json), json))


def test_a_line_is_whole_with_its_end() -> None:
    line = write_record(Chunk.of("id", 1, 0.5, b"abc"))

    for length in range(len(line)):
        with pytest.raises(FramingError, match="no whole record"):
            read_record(line[:length])


@pytest.mark.parametrize("number", [0, 1])
def test_a_recording_is_known_by_how_it_begins(number: int) -> None:
    line = write_record((Began("id", 0, 0.0, 1), Chunk.of("id", 1, 0.5, b"abc" * 9))[number])

    assert looks_like_recording(line[:30]) == (number == 0)


def test_a_file_may_have_been_given_other_line_ends() -> None:
    line = write_record(Chunk.of("id", 1, 0.5, b"abc"))

    assert read_record(line.replace(b"\n", b"\r\n")) == read_record(line)


WHOLE: list[Record] = [Began("id", 0, 0.0, 1), Chunk("id", 1, 0.5, "a"), Chunk("id", 2, 0.6, "b"), Ended("id", 3, 0.7)]


def read(reader: RecordingReader, file: list[Record]) -> list[Record]:
    """What `reader` makes of the whole file."""
    return [one for record in file for one in reader.feed(record)] + reader.flush()


@given(st.lists(st.sampled_from(["id", "other"]), max_size=12))
def test_records_of_other_recordings_of_a_file_are_left_out(order: list[str]) -> None:
    numbers = {"id": 0, "other": 0}
    file: list[Record] = []
    for id in order:
        file.append(Chunk(id, numbers[id], 0.5, "x"))
        numbers[id] += 1
    file.append(Ended("id", numbers["id"], 0.6, "completed"))

    assert read(RecordingReader("id"), file) == [record for record in file if record.id == "id"]


def test_a_recording_is_whole_with_its_end_and_what_follows_is_none_of_it() -> None:
    reader = RecordingReader("id")

    assert [reader.feed(record) for record in WHOLE] == [[record] for record in WHOLE]
    assert reader.has_ended
    assert reader.feed(WHOLE[0]) == reader.flush() == []


@pytest.mark.parametrize(
    ("places", "error", "said"),
    [
        ([1], FramingError, "the recording is damaged: its beginning is missing"),
        ([0, 2], FramingError, "the recording is damaged after 1 records"),
        ([0, 1, 1], FramingError, "the recording is damaged after 2 records"),
        ([], TruncatedStreamError, "the recording breaks off: its beginning is missing"),
        ([0, 1, 2], TruncatedStreamError, "the recording breaks off after 3 records"),
    ],
)
@pytest.mark.parametrize("damaged", [[], [5], [5, 8]])
def test_a_missing_record_is_noticed_and_the_first_damaged_line_named(
    places: list[int], error: type[StreamError], said: str, damaged: list[int]
) -> None:
    reader = RecordingReader("id")
    for line in damaged:
        reader.note_damage(line)

    with pytest.raises(error) as caught:
        read(reader, [WHOLE[place] for place in places])

    assert caught.value.message == said + ("; line 5 of the file is not as it was written" if damaged else "")
    assert not caught.value.is_retryable


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_later_format_is_refused(version: int) -> None:
    began = Began("id", 0, 0.0, version)

    if version <= 1:
        assert RecordingReader("id").feed(began) == [began]
    else:
        with pytest.raises(FramingError, match="format 2; this version of rxstream reads 1 and earlier"):
            RecordingReader("id").feed(began)
