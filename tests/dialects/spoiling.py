"""Wires that no server should send, for hypothesis: recordings with something wrong in them, and plain garbage.

Everything is drawn, so that what breaks a reader is found again and made small.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

from hypothesis import strategies as st

from tests.dialects.event_streams import inner_of, is_event_stream, parts, with_inner

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[T]], T]

DEEP = {"deep inside a list": b"[" * 100_000 + b"]" * 100_000, "deep": b'{"a":' * 900 + b"1" + b"}" * 900}
"""Values that no writer of JSON makes of a value: put in as text, where their name stands."""

_JSON = re.compile(rb"\{.*\}")

bad_values: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 7, 2**31, 2**63, 2**64, -(2**70), 10**40]),
    st.sampled_from([0.0, -0.5, 1.5, 7.0, 1e308, float("inf"), float("nan")]),
    st.sampled_from(["", "null", "error", "7", "\ud83d", "\ude00", "😀", "\x00", "a" * 300]),
    st.sampled_from([[], {}, [None], [[]], [{}], {"": None}, {"type": 7}, [7, "a"]]),
    st.sampled_from(sorted(DEEP)),
)


@st.composite
def spoilt(draw: Draw[Any], wires: list[bytes]) -> bytes:
    """One of `wires` with up to three things wrong."""
    wire: bytes = draw(st.sampled_from(wires))
    for _ in range(draw(st.integers(1, 3))):
        wire = draw(st.sampled_from([_with_bad_value, _with_bad_value, _with_bad_bytes, _with_bad_lines]))(draw, wire)
    return wire


@st.composite
def garbage(draw: Draw[Any], wires: list[bytes]) -> bytes:
    """Pieces of `wires`, of the format and of nothing, in any order."""
    lines = sorted({piece for wire in wires for piece in _pieces(wire)})
    pieces = st.one_of(
        st.sampled_from(lines),
        st.sampled_from(
            [b"\n", b"\n\n", b"\r\n", b"\r", b":", b"data:", b"data: ", b"event: ", b"error: ", b"[DONE]", b"{}"]
        ),
        st.sampled_from(
            [b"data: {}\n\n", b"data: []\n\n", b"data: null\n\n", b'data: {"error": 7}\n\n', b"data: [DONE]"]
        ),
        st.binary(max_size=12),
    )
    return b"".join(draw(st.lists(pieces, max_size=12)))


def with_each_value_replaced(wire: bytes, other: Any) -> Iterator[bytes]:
    """Return `wire` again and again, each time with `other` in the place of another one of its JSON values."""
    if is_event_stream(wire):
        yield from _with_each_value_of_a_message_replaced(wire, other)
        return
    for start, end in [match.span() for match in _JSON.finditer(wire)]:
        text = wire[start:end]
        for number in range(len(_spots(json.loads(text)))):
            value: Any = json.loads(text)
            container, key = _spots(value)[number]
            container[key] = other
            yield wire[:start] + _written(value) + wire[end:]


def _with_each_value_of_a_message_replaced(wire: bytes, other: Any) -> Iterator[bytes]:
    messages = parts(wire)
    for number, (_, read) in enumerate(messages):
        before = b"".join(written for written, _ in messages[:number])
        after = b"".join(written for written, _ in messages[number + 1 :])
        for inner in with_each_value_replaced(inner_of(read), other) if read is not None else ():
            assert read is not None
            yield before + with_inner(read, inner) + after


def _with_bad_value(draw: Draw[Any], wire: bytes) -> bytes:
    """Put another value somewhere into one of the JSON objects, or leave a member out."""
    if is_event_stream(wire):
        return _with_bad_message(draw, wire)
    places = [match.span() for match in _JSON.finditer(wire)]
    if not places:
        return wire
    start, end = draw(st.sampled_from(places))
    try:
        value: Any = json.loads(wire[start:end])
        spots = _spots(value)
    except (ValueError, RecursionError):  # spoilt before
        return wire
    if not spots:
        return wire
    container, key = draw(st.sampled_from(spots))
    if isinstance(container, dict) and draw(st.integers(0, 4)) == 0:
        del container[key]
    else:
        container[key] = draw(bad_values)
    return wire[:start] + _written(value) + wire[end:]


def _with_bad_message(draw: Draw[Any], wire: bytes) -> bytes:
    """Say something else in one of the messages, under good checksums."""
    messages = parts(wire)
    number: int = draw(st.integers(0, len(messages) - 1))
    read = messages[number][1]
    if read is not None:
        spoil = draw(st.sampled_from([_with_bad_value, _with_bad_value, _with_bad_bytes]))
        messages[number] = with_inner(read, spoil(draw, inner_of(read))), None
    return b"".join(written for written, _ in messages)


def _written(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    for name, deep in DEEP.items():
        text = text.replace(json.dumps(name).encode(), deep)
    return text


def _spots(value: Any) -> list[tuple[Any, Any]]:
    """Every place inside a JSON value where another value can be put."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(cast(dict[str, Any], value))
    elif isinstance(value, list):
        keys = list(range(len(cast(list[Any], value))))
    places: list[tuple[Any, Any]] = [(value, key) for key in keys]
    return places + [spot for key in keys for spot in _spots(value[key])]


def _with_bad_bytes(draw: Draw[Any], wire: bytes) -> bytes:
    start = draw(st.integers(0, len(wire)))
    length = draw(st.integers(0, 3))
    return wire[:start] + draw(st.binary(max_size=3)) + wire[start + length :]


def _with_bad_lines(draw: Draw[Any], wire: bytes) -> bytes:
    """Drop a line, repeat it, or swap two."""
    lines = _pieces(wire)
    a: int = draw(st.integers(0, len(lines) - 1))
    b: int = draw(st.integers(0, len(lines) - 1))
    match draw(st.sampled_from(["drop", "repeat", "swap"])):
        case "drop":
            del lines[a]
        case "repeat":
            lines.insert(b, lines[a])
        case _:
            lines[a], lines[b] = lines[b], lines[a]
    return (b"" if is_event_stream(wire) else b"\n").join(lines)


def _pieces(wire: bytes) -> list[bytes]:
    """The lines of `wire`, or its messages."""
    return [written for written, _ in parts(wire)] if is_event_stream(wire) else wire.split(b"\n")
