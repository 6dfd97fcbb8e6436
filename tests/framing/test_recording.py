"""The lines of a recording: whatever was written is read, and whatever else is noticed."""

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.errors import FramingError, OverloadedError, StreamError
from rxstream.framing.recording import (
    Began,
    Chunk,
    Ended,
    Failure,
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
def test_any_error_is_the_same_again(error: StreamError) -> None:
    record = read_record(write_record(Ended("id", 1, 0.5, "failed", Failure.of(error))))

    assert isinstance(record, Ended)
    assert record.error is not None
    assert type(record.error) is type(error)
    assert vars(record.error) == vars(error) | {"completed": []}
    assert (str(record.error), record.error.args) == (str(error), error.args)


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
