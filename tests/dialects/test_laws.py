"""The laws that every dialect is held to, the installed ones without being named.

1. Any bytes give tokens, or tokens and one `StreamError`; never another exception, never one of
   ours in disguise.
2. Where the bytes are cut changes nothing, for good streams and for bad ones.
3. The beginning of a stream gives the beginning of its tokens, then `TruncatedStreamError`.
4. Whatever comes out holds together and can be written down.
5. A character that the server cut in two is joined.

Each dialect brings recordings of its own, in `tests/fixtures/<its name>/`.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxstream.dialect import Dialect
from rxstream.dialects import dialect, dialects
from rxstream.errors import ProviderError, TruncatedStreamError
from rxstream.tokens import StreamEnd
from tests.dialects.event_streams import readable
from tests.dialects.laws import assert_same, hold_together
from tests.dialects.reading import cut, fixtures_of, in_pieces, read, telling_offsets, without_ending
from tests.dialects.spoiling import garbage, spoilt, with_each_value_replaced
from tests.shared import shared_files

EMOJI = "😀"

DIALECTS = [dialect(name) for name in dialects()]
FIXTURES = [(each, path) for each in DIALECTS for path in fixtures_of(each)]

more_examples = settings(max_examples=2 * settings().max_examples)
each_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
each_fixture = pytest.mark.parametrize(
    ("dialect", "path"), FIXTURES, ids=[f"{each.name}/{path.stem}" for each, path in FIXTURES]
)


def wires_of(dialect: Dialect[Any]) -> list[bytes]:
    """The bodies that mutations start from: our own, and the smaller recordings beside the project."""
    recorded: list[Path] = []
    for sheet in shared_files("captures/*/*.json"):
        known = msgspec.json.decode(sheet.read_bytes())
        if known.get("api") == dialect.name and known["bytes"] < 8_000:
            recorded.append(sheet.with_name(known["file"]))
    return [path.read_bytes() for path in [*fixtures_of(dialect), *recorded]]


WIRES = {each.name: wires_of(each) for each in DIALECTS}


@each_dialect
def test_a_dialect_brings_recordings_of_its_own(dialect: Dialect[Any]) -> None:
    assert [path.stem for path in fixtures_of(dialect)] != []


@each_dialect
@given(data=st.data())
def test_any_bytes_give_tokens_or_one_stream_error(dialect: Dialect[Any], data: st.DataObject) -> None:
    chunks = data.draw(st.lists(st.binary(max_size=40), max_size=4))

    hold_together(read(dialect, chunks, raw_events=True))


@each_dialect
@more_examples
@given(data=st.data())
def test_garbage_gives_tokens_or_one_stream_error_wherever_it_is_cut(
    dialect: Dialect[Any], data: st.DataObject
) -> None:
    wire = data.draw(garbage(WIRES[dialect.name]))

    hold_together_wherever_cut(dialect, wire, data)


@each_dialect
@more_examples
@given(data=st.data())
def test_spoilt_streams_give_tokens_or_one_stream_error_wherever_they_are_cut(
    dialect: Dialect[Any], data: st.DataObject
) -> None:
    wire = data.draw(spoilt(WIRES[dialect.name]))

    hold_together_wherever_cut(dialect, wire, data)


@each_fixture
@pytest.mark.parametrize("other", [None, 7, "deep"])
def test_any_value_of_a_fixture_may_be_another(dialect: Dialect[Any], path: Path, other: Any) -> None:
    for wire in with_each_value_replaced(path.read_bytes(), other):
        hold_together(read(dialect, [wire]))


@each_fixture
def test_a_fixture_is_read_the_same_however_it_is_cut(dialect: Dialect[Any], path: Path) -> None:
    wire = path.read_bytes()
    whole = read(dialect, [wire])

    hold_together(whole)
    for size in (1, 2, 7, 64):
        assert_same(read(dialect, in_pieces(wire, size)), whole)
    for offset in telling_offsets(wire):
        assert_same(read(dialect, cut(wire, [offset])), whole)


@each_fixture
def test_the_beginning_of_a_fixture_gives_the_beginning_of_its_tokens(dialect: Dialect[Any], path: Path) -> None:
    wire = path.read_bytes()
    whole = read(dialect, [wire])

    for offset in telling_offsets(wire):
        outcome = read(dialect, [wire[:offset]])

        tokens = without_ending(outcome.tokens)
        assert tokens == whole.tokens[: len(tokens)], f"the first {offset} bytes"
        if outcome.error is None:
            assert any(isinstance(token, StreamEnd) for token in outcome.tokens), f"the first {offset} bytes"
        elif not isinstance(outcome.error, TruncatedStreamError):
            assert isinstance(outcome.error, ProviderError), f"the first {offset} bytes"
            assert isinstance(whole.error, ProviderError), f"the first {offset} bytes"


@each_dialect
def test_an_empty_body_is_a_cut_stream(dialect: Dialect[Any]) -> None:
    outcome = read(dialect, [])

    assert isinstance(outcome.error, TruncatedStreamError)
    assert outcome.tokens == []


@each_dialect
@pytest.mark.parametrize(
    "page", [b"<!doctype html>\n<html><body>Bad gateway</body></html>\n", b"upstream connect error", b"\x00\xff" * 50]
)
def test_a_body_that_is_no_stream_at_all_is_told_apart(dialect: Dialect[Any], page: bytes) -> None:
    outcome = read(dialect, [page])

    assert outcome.error is not None
    assert outcome.tokens == []


@each_dialect
def test_a_character_that_the_server_cut_in_two_is_joined(dialect: Dialect[Any]) -> None:
    [path] = [path for path in fixtures_of(dialect) if path.stem == "lone-surrogate"]
    wire = path.read_bytes()
    assert rb"\ud83d" in readable(wire)
    assert EMOJI.encode() not in wire

    outcome = read(dialect, [wire])

    assert outcome.error is None
    assert EMOJI in outcome.message.text
    assert "\ufffd\ufffd" not in outcome.message.text
    for call in outcome.message.tool_calls:
        assert EMOJI in (call.arguments_raw or "")


def hold_together_wherever_cut(dialect: Dialect[Any], wire: bytes, data: st.DataObject) -> None:
    offsets = data.draw(st.lists(st.integers(0, len(wire)), max_size=5))

    whole = read(dialect, [wire], raw_events=True)

    hold_together(whole)
    assert_same(read(dialect, cut(wire, offsets), raw_events=True), whole)
