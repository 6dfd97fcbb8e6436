"""JSON as servers send it: what a strict decoder reads, and what it does not."""

import json
import math
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from rxstream.errors import ProtocolError
from rxstream.framing import JsonReader, read_json


class Piece(Struct):
    text: str = ""
    count: int = 0
    size: int | None = None
    limit: int | None = 9
    score: float | int = 0
    tags: list[str] = []
    kind: Literal["a", "b"] = "a"
    value: Any = None
    raw: msgspec.Raw = msgspec.Raw(b"")


class Chunk(Struct, tag="chunk", tag_field="type"):
    id: str
    pieces: list[Piece] = []
    by_name: dict[str, Piece] = {}
    maybe: list[Piece | None] | None = None
    inner: Piece | None = None


class Stop(Struct, tag="stop", tag_field="type"):
    reason: str | None = None
    count: Annotated[int, msgspec.Meta(ge=0)] = 0


FRAMES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.sampled_from(["chunk", "stop", "a", "\ud83d", 1e300, 10**400, -0.5]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "id", "pieces", "by_name", "maybe", "inner", "reason", *Piece.__struct_fields__])
            | st.text(st.characters(), max_size=2),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


def value_or_error(data: bytes, type_: Any) -> Any:
    try:
        return JsonReader(type_).read(data)
    except ProtocolError as error:
        return error


@given(data=st.binary() | FRAMES.map(lambda value: json.dumps(value).encode()), mark=st.binary(max_size=2))
def test_any_bytes_are_a_value_or_a_protocol_error(data: bytes, mark: bytes) -> None:
    for type_ in (Any, Chunk | Stop, Piece, dict[str, int], list[float], int):
        value_or_error(data, type_)
        value_or_error(data + mark, type_)


@given(value=FRAMES)
def test_whatever_python_writes_is_read(value: Any) -> None:
    read = read_json(json.dumps(value).encode())

    assert json.dumps(read) == json.dumps(value)


@given(value=FRAMES)
def test_what_the_strict_decoder_reads_is_read_the_same(value: Any) -> None:
    data = json.dumps(value, allow_nan=True).encode()
    types: list[Any] = [Any, Chunk | Stop, Piece]
    for type_ in types:
        try:
            strict = msgspec.json.decode(data, type=type_)
        except ValueError:
            continue

        assert JsonReader(type_).read(data) == strict


def test_a_lone_surrogate_stays_one_and_is_noticed() -> None:
    reader = JsonReader(Piece)

    assert reader.read(b'{"text": "\\ud83d\\ude00", "count": 1.0}') == Piece("\U0001f600", 1)
    assert not reader.has_surrogates
    assert reader.read(b'{"text": "a\\uD83D"}') == Piece("a\ud83d")
    assert reader.has_surrogates
    assert reader.read(b'{"text": "\\ude00"}') == Piece("\ude00")
    assert reader.read(b'{"text": "plain"}') == Piece("plain")
    assert reader.has_surrogates


def test_an_escaped_backslash_before_the_letters_is_no_surrogate() -> None:
    reader = JsonReader(Piece)

    assert reader.read(b'{"text": "\\\\ud83d", "count": 1.0}') == Piece("\\ud83d", 1)
    assert not reader.has_surrogates


@pytest.mark.parametrize("data", [b'{"text": "x", "\\ud83d": 1}', b'{"text": "x", "new": "\\ud83d"}'])
def test_a_lone_surrogate_where_nobody_looks_does_no_harm(data: bytes) -> None:
    assert read_json(data, Piece) == Piece("x")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"count": 3.0}', Piece(count=3)),
        (b'{"count": 2.6}', Piece(count=3)),
        (b'{"count": "12"}', Piece(count=12)),
        (b'{"count": null}', Piece()),
        (b'{"size": null}', Piece()),
        (b'{"size": 1e3}', Piece(size=1000)),
        (b'{"size": 2.6}', Piece(size=3)),
        (b'{"limit": null, "count": null}', Piece(limit=None)),
        (b'{"size": 1e999}', Piece()),
        (b'{"count": -Infinity, "text": "x"}', Piece("x")),
        (b'{"count": ' + b"9" * 400 + b"}", Piece(count=int("9" * 400))),
        (b'{"count": ' + b"9" * 5000 + b', "text": "x"}', Piece("x")),
        (b'{"score": 1.5, "count": 2.0}', Piece(score=1.5, count=2)),
        (b'{"tags": ["a", null], "text": null}', Piece(tags=["a"])),
        (b'{"value": {"x": null, "n": 1.0}, "count": null}', Piece(value={"x": None, "n": 1.0})),
        (b'{"text": "a\tb"}', Piece("a\tb")),
        (b'{"text": "\xff"}', Piece("\ufffd")),
        (b'{"count": 1, "count": 2.0}', Piece(count=2)),
        (b'{"unknown": NaN}', Piece()),
    ],
)
def test_what_does_not_fit_exactly_is_bent(data: bytes, expected: Piece) -> None:
    assert read_json(data, Piece) == expected


def test_bending_reaches_every_depth() -> None:
    data = b"""{"type": "chunk", "id": "1", "pieces": [null, {"count": 1.4}], "by_name": {"x": {"count": null}},
               "maybe": [null, {"count": 2.4}], "inner": {"raw": {"b": [1]}, "size": 4.0}}"""

    chunk = JsonReader[Chunk | Stop](Chunk | Stop).read(data)

    assert isinstance(chunk, Chunk)
    assert chunk.pieces == [Piece(count=1)]
    assert chunk.by_name == {"x": Piece()}
    assert chunk.maybe == [None, Piece(count=2)]
    assert chunk.inner is not None
    assert chunk.inner.size == 4
    assert json.loads(bytes(chunk.inner.raw)) == {"b": [1]}


def test_what_is_to_stay_unread_stays_as_it_was_written() -> None:
    assert bytes(read_json(b'{"raw": {"b" : 1.50}}', Piece).raw) == b'{"b" : 1.50}'


@pytest.mark.parametrize("number", [b"NaN", b"1e999", b"9" * 5000])
def test_numbers_beyond_a_float_are_read(number: bytes) -> None:
    value = read_json(number)

    assert not math.isfinite(value)


@pytest.mark.parametrize(
    ("data", "type_", "said"),
    [
        (b'{"secret', Any, "not JSON: Unterminated string starting at at character 1 of 8"),
        (b"{} secret", Any, "Extra data at character 3 of 9"),
        (b"", Any, "Expecting value at character 0 of 0"),
        (b'{"count": "secret"}', Piece, "no Piece: Expected `int`, got `str` - at `$.count`"),
        (b'{"kind": "secret"}', Piece, "an unknown word - at `$.kind`"),
        (b'{"kind": "\\ud83dsecret"}', Piece, "JSON that is no Piece: an unknown word"),
        (b'{"type": "secret"}', Chunk | Stop, "no value of the expected type: an unknown word - at `$.type`"),
        (b'{"type": "stop", "count": -1}', Chunk | Stop, "Expected `int` - at `$.count`"),
        (b'{"type": "chunk", "secret": 1}', Chunk | Stop, "missing required field `id`"),
        (b'{"type": "chunk", "id": null}', Chunk | Stop, "Expected `str`, got `null` - at `$.id`"),
        (b'["secret"]', list[int], "no list: Expected `int`, got `str` - at `$[0]`"),
        (b"[" * 100_000 + b"]" * 100_000, Any, "JSON nested too deeply"),
        (b'{"value": ' + b'{"a":' * 100_000, Piece, "nested too deeply"),
    ],
)
def test_nonsense_is_an_error_that_says_where_but_not_what(data: bytes, type_: Any, said: str) -> None:
    error = value_or_error(data, type_)

    assert isinstance(error, ProtocolError)
    assert str(error).endswith(said)
    assert "secret" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__
