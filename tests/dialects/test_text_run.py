"""The quick way through text deltas gives what the full reading gives, whatever the events are."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.dialect import BodyReader
from rxstream.dialects import dialect
from rxstream.errors import StreamError
from rxstream.tokens import StreamToken, TextDelta
from tests.dialects.reading import cut

RAW = [b"\x01", b"\t", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\\", b'"', b"\n", b"\r", b"\xc2\x85"]
"""What no JSON string holds, put where the marks stand."""
MARKED_TEXT, MARKED_PADDING = "@@", "##"

texts = st.one_of(
    st.sampled_from(["Hello", " world", ",", "id", "", "\n", '"', "\\", "é", "日本", "🙂", "\u2028", MARKED_TEXT]),
    st.text(max_size=5),
)
padding = st.sampled_from(["", "a", "Zx81", "x y", "é", '"', "\\", MARKED_PADDING])


def chat_event(text: str, pad: str, changes: dict[str, Any], *, is_ascii: bool, key: str = "id") -> bytes:
    """A chunk of OpenAI's, with something else in it as well."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    chunk = {key: "1", "model": "m,", "choices": [choice | changes], "usage": None, "obfuscation": pad}
    return b"data: " + json.dumps(chunk, separators=(",", ":"), ensure_ascii=is_ascii).encode() + b"\n\n"


def anthropic_event(text: str, pad: str, changes: dict[str, Any], *, is_ascii: bool, key: str = "id") -> bytes:
    """A delta of Anthropic's, filled up with spaces."""
    event = {
        key: "1",
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": text},
    } | changes
    written = json.dumps(event, separators=(",", ":"), ensure_ascii=is_ascii)
    fill = pad if pad == MARKED_PADDING else " " * len(pad)
    return b"event: content_block_delta\ndata: " + f"{written[:-1]}{fill}}}\n\n".encode()


APIS: dict[str, tuple[Any, list[dict[str, Any]], list[bytes]]] = {
    "openai.chat": (
        chat_event,
        [
            {},
            {},
            {},
            {"finish_reason": "stop"},
            {"index": 1},
            {"delta": {"refusal": "no"}},
            {"logprobs": {"content": []}},
        ],
        [
            b"data: [DONE]\n\n",
            b": ping\n\n",
            b"data: {}\n\n",
            b"data: no\n\n",
            b"id: 7\ndata: {}\n\n",
            b"\n",
            b"error: {\n\n",
        ],
    ),
    "anthropic.messages": (
        anthropic_event,
        [{}, {}, {}, {"index": 1}, {"delta": {"type": "thinking_delta", "thinking": "?"}}],
        [
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
            b"event: ping\n\n",
            b"event: error\ndata: {}\n\n",
            b"\n",
        ],
    ),
}


@st.composite
def streams(draw: st.DrawFn, api: str) -> list[bytes]:
    """Two text events, then a run of them with whatever else between, cut anywhere; perhaps one byte is spoilt."""
    event, changes, others = APIS[api]
    is_ascii = draw(st.booleans())
    keys = st.sampled_from(["id", "Hello"])

    def text_event() -> bytes:
        text = draw(texts)
        said = event(
            text,
            draw(padding),
            draw(st.sampled_from(changes)),
            is_ascii=is_ascii or not text.isprintable(),
            key=draw(keys),
        )
        marks = {mark.encode(): draw(st.sampled_from(RAW)) for mark in (MARKED_TEXT, MARKED_PADDING)}
        for mark, raw in marks.items():
            said = said.replace(mark, raw)
        return said

    first = [event("Hello", "", {}, is_ascii=is_ascii, key=draw(keys)) for _ in range(2)]
    pieces = [
        draw(st.sampled_from(others)) if draw(st.integers(0, 4)) == 0 else text_event()
        for _ in range(draw(st.integers(1, 6)))
    ]
    body = bytearray(b"".join(pieces))
    if draw(st.booleans()):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return [*first, *cut(bytes(body), draw(st.lists(st.integers(0, len(body)), max_size=3)))]


def outcome(api: str, chunks: list[bytes], *, quickly: bool) -> tuple[list[StreamToken], str]:
    """The tokens of a body and how it ended, with and without the quick way."""
    reader: BodyReader[Any] = dialect(api).read_body()
    if not quickly:
        reader._frames._skim = None  # pyright: ignore[reportPrivateUsage]  # there is no other way to do without it
    tokens: list[StreamToken] = []
    try:
        for chunk in chunks:
            tokens += reader.feed(chunk)
        tokens += reader.flush()
    except StreamError as error:
        return tokens + error.completed, f"{type(error).__name__}: {error} {error.partial}"
    return tokens, f"whole {reader.message}"


@pytest.mark.parametrize("api", APIS)
@given(data=st.data())
def test_the_quick_way_gives_what_the_full_reading_gives(api: str, data: st.DataObject) -> None:
    chunks = data.draw(streams(api))

    assert outcome(api, chunks, quickly=True) == outcome(api, chunks, quickly=False)


@pytest.mark.parametrize("api", APIS)
def test_the_quick_way_is_taken(api: str) -> None:
    event, _, _ = APIS[api]
    reader: BodyReader[Any] = dialect(api).read_body()
    body = [event(text, "pad", {}, is_ascii=False) for text in ("One", " two", " three", "\n日本", '"', " four")]
    for chunk in body[:2]:
        reader.feed(chunk)
    made: list[StreamToken] = []

    skim = reader._frames._skim  # pyright: ignore[reportPrivateUsage]  # whether it is taken shows nowhere else
    assert skim is not None
    whole = b"".join(body[2:])
    end = skim(made, whole, 0)

    assert [token.text for token in made if isinstance(token, TextDelta)] == [" three", "\n日本"]
    assert whole[end:] == b"".join(body[4:])


@pytest.mark.parametrize("api", APIS)
def test_text_that_can_not_be_read_alone_ends_the_quick_way_where_it_stands(api: str) -> None:
    event, _, _ = APIS[api]
    texts = ["One", " two", *map(str, range(20)), "\ud83d", "\ude42", *map(str, range(20))]
    body = b"".join(event(text, "pad", {}, is_ascii=True) for text in texts)

    assert outcome(api, [body], quickly=True) == outcome(api, [body], quickly=False)


TELLING: dict[str, list[bytes]] = {
    "openai.chat": [
        chat_event("", "", {}, is_ascii=False),
        b"data: [DONE]\n\n" + chat_event("more", "", {}, is_ascii=False),
        chat_event(MARKED_TEXT, "", {}, is_ascii=False).replace(b"@@", b"\n"),
        chat_event("more", MARKED_PADDING, {}, is_ascii=False).replace(b"##", b"\n\ndata: {}\n\n"),
        chat_event("more", MARKED_PADDING, {}, is_ascii=False).replace(b"##", b"\n"),
    ],
    "anthropic.messages": [
        b'data: {"type":"message_stop"}\n\n' + anthropic_event("more", "", {}, is_ascii=False),
        anthropic_event(MARKED_TEXT, "", {}, is_ascii=False).replace(b"@@", b"\n"),
        anthropic_event("more", MARKED_PADDING, {}, is_ascii=False).replace(b"##", b',"index":2'),
        anthropic_event("more", MARKED_PADDING, {}, is_ascii=False).replace(b"##", b"\n\n"),
    ],
}


@pytest.mark.parametrize(("api", "odd"), [(api, odd) for api, bodies in TELLING.items() for odd in bodies])
def test_what_only_looks_like_a_text_event_is_read_in_full(api: str, odd: bytes) -> None:
    event, _, _ = APIS[api]
    usual = event("Hello", "pad", {}, is_ascii=False)
    chunks = [usual, usual, odd + event(" world", "", {}, is_ascii=False)]

    assert outcome(api, chunks, quickly=True) == outcome(api, chunks, quickly=False)
