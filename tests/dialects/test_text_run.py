"""The quick way through text deltas gives what the full reading gives, whatever the events are."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.dialect import BodyReader
from rxstream.dialects import dialect
from rxstream.dialects._text_run import TextRun
from rxstream.errors import ProtocolError, StreamError
from rxstream.framing import SseEvent
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
    texts = {"One": "pad", " two": "pad", " three": "padding", "\n日本": "p", '"': "p", " four": "pad"}
    body = [event(text, pad, {}, is_ascii=False) for text, pad in texts.items()]
    for chunk in body[:2]:
        reader.feed(chunk)
    frames: Any = reader._frames  # pyright: ignore[reportPrivateUsage]  # whether it is taken shows nowhere else
    made: list[StreamToken] = []
    frames._made = made

    whole = b"".join(body[2:])
    end = frames._skim_into(whole, 0)

    assert [token.text for token in made if isinstance(token, TextDelta)] == [" three", "\n日本"]
    assert whole[end:] == b"".join(body[4:])


@pytest.mark.parametrize("api", APIS)
def test_nothing_is_skimmed_before_there_was_text_or_after_the_end(api: str) -> None:
    event, _, others = APIS[api]
    usual, end = event("Hello", "pad", {}, is_ascii=False), others[0]
    decoder, parser, made = dialect(api).decoder(False), dialect(api).parser(), list[StreamToken]()

    seen = [decoder.skim(made, usual, 0)]
    for frame in parser.feed(b"\n" + usual + usual):
        decoder.feed(frame)
    seen.append(decoder.skim(made, usual, 0))
    for frame in parser.feed(end):
        decoder.feed(frame)
    seen.append(decoder.skim(made, usual, 0))

    assert seen == [0, len(usual), 0]
    assert made == [TextDelta("Hello")]


def test_skimmed_text_stands_in_the_block_of_its_events() -> None:
    chunks = [anthropic_event(text, "", {"index": 4}, is_ascii=False) for text in ("One", " two", " three")]

    tokens, _ = outcome("anthropic.messages", [chunks[0], b"".join(chunks[1:])], quickly=True)

    assert [token for token in tokens if isinstance(token, TextDelta)] == [
        TextDelta("One", 4),
        TextDelta(" two", 4),
        TextDelta(" three", 4),
    ]


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


# --- The run by itself ---

SHAPES: dict[str, tuple[bytes | None, str]] = {
    "no padding": (None, '{"place":0,"text":%s,"more":null}'),
    "spaces": (b"", '{"place":0,"text":%s%s}'),
    "spaces after a tab and after the end": (b"", '{"place":0,"text":%s\t%s} '),
    "spaces after a member": (b"", '{"place":0,"text":%s,"more":{} %s}'),
    "letters": (b'"pad":"', '{"place":0,"text":%s,"more":null,"pad":"%s"}'),
    "letters after others": (b'"pad":"', '{"text":%s,"inner":{"pad":"x"},"place":0,"pad":"%s"}'),
}
"""What stands before the padding, and an event with a text, and with padding where the shape has any."""


def read_alone(data: bytes) -> str | None:
    """The text of an event in place 0: what a dialect would say of it."""
    try:
        event = json.loads(data)
    except ValueError:
        raise ProtocolError("no JSON") from None
    return event["text"] if event.get("place") == 0 else None


def written(shape: str, text: str, filling: str = "", *, is_ascii: bool = False) -> bytes:
    """The data of an event."""
    quoted = json.dumps(text, ensure_ascii=is_ascii)
    _, form = SHAPES[shape]
    return (form % ((quoted, filling) if form.count("%s") == 2 else quoted)).encode("utf-8", "surrogatepass")


def learnt(shape: str, filling: str, *, event: str = "message", index: int = 0) -> TextRun:
    """A run that has seen one event."""
    run = TextRun(read_alone, padding=SHAPES[shape][0])
    run.learn(SseEvent(event, written(shape, "Hello", filling)), "Hello", index)
    return run


def skimmed(run: TextRun, chunk: bytes, start: int = 0) -> tuple[list[StreamToken], bytes]:
    """What the run makes of a chunk, and what it leaves of it."""
    made: list[StreamToken] = []
    while (end := run.skim(made, chunk, start)) > start:
        start = end
    return made, chunk[start:]


fillings = {
    "letters": st.sampled_from(["a", "Zx81", "x y", "é", "", "-"]),
    "spaces": st.sampled_from(["", " ", "   "]),
    "no padding": st.just(""),
}


@pytest.mark.parametrize("shape", SHAPES)
@given(
    name=st.sampled_from(["message", "delta"]),
    data=st.data(),
    is_ascii=st.booleans(),
    before=st.sampled_from([b"", b"data: x\n\n"]),
)
def test_a_run_reads_plain_text_itself_and_leaves_all_else_where_it_stands(
    shape: str, name: str, data: st.DataObject, is_ascii: bool, before: bytes
) -> None:
    kind = next(kind for kind in fillings if shape.startswith(kind))
    filling = fillings[kind]
    events = data.draw(st.lists(st.tuples(texts, filling), max_size=8))
    line = b"data: " if name == "message" else b"event: delta\ndata: "
    wire = [line + written(shape, text, pad, is_ascii=is_ascii) + b"\n\n" for text, pad in events]
    run, chunk, start = learnt(shape, "a" if kind == "letters" else "  ", event=name, index=3), before, len(before)
    chunk += b"".join(wire)
    made: list[StreamToken] = []
    left: list[bytes] = []

    while start < len(chunk):
        end = run.skim(made, chunk, start)
        if end == start:  # somebody else reads that one
            end = chunk.index(b"\n\n", start) + 2
            left.append(chunk[start:end])
            made.append(TextDelta(events[len(made)][0], 3))
        start = end

    assert made == [TextDelta(text, 3) for text, _ in events]
    for event, (text, pad) in zip(wire, events, strict=True):
        is_plain = bool(text) and text.isprintable() and text.isascii() and '"' not in text and "\\" not in text
        if is_plain and (kind != "letters" or (pad.isalnum() and pad.isascii())):
            assert event not in left
        assert text or event in left


@pytest.mark.parametrize("shape", SHAPES)
@given(count=st.integers(0, 5), cut=st.integers(1, 60))
def test_an_event_whose_end_has_not_come_is_left(shape: str, count: int, cut: int) -> None:
    filling = "a" if SHAPES[shape][0] else " "
    events = [b"data: " + written(shape, f"text {number}", filling) + b"\n\n" for number in range(count + 1)]
    rest = events[-1][:-cut]

    made, left = skimmed(learnt(shape, filling), b"".join(events[:-1]) + rest)

    assert made == [TextDelta(f"text {number}") for number in range(count)]
    assert left == rest


@pytest.mark.parametrize("raw", [b"", b"\\", b"a\\", b"\\x", b"\\ud83d", b"\x01", b"\t", b"\xff", b"\xed\xa0\xbd"])
def test_what_is_no_text_of_json_is_left_and_what_is_around_it_is_not(raw: bytes) -> None:
    run, usual = learnt("no padding", ""), b"data: " + written("no padding", "@") + b"\n\n"
    around = [usual.replace(b"@", text) for text in (b"a", b"b", b"c")]
    odd = usual.replace(b"@", raw)

    made, left = skimmed(run, b"".join([*around, odd, *around]))
    again, rest = skimmed(run, left.removeprefix(odd))

    assert made == again == [TextDelta("a"), TextDelta("b"), TextDelta("c")]
    assert (left, rest) == (odd + b"".join(around), b"")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_that_knows_nothing_reads_nothing(shape: str) -> None:
    chunk = b"data: " + written(shape, "Hello", "a") + b"\n\n"

    assert skimmed(TextRun(read_alone, padding=SHAPES[shape][0]), chunk) == ([], chunk)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("other", [b"event: delta\ndata: ", b"data:", b"id: 1\ndata: "])
def test_an_event_that_begins_otherwise_is_left(shape: str, other: bytes) -> None:
    filling = "a" if SHAPES[shape][0] else ""
    chunk = other + written(shape, "Hello", filling) + b"\n\n"

    assert skimmed(learnt(shape, filling), chunk) == ([], chunk)


@pytest.mark.parametrize(
    ("learnt_from", "is_learnt"),
    [
        (b'{"place":0,"text":"Hello"}', True),
        (b'{"place":0,"text":"Hello","same":"Hello"}', True),
        (b'{"place":0,"same":"Hello","text":"Hello"}', False),
        (b'{"place":0,"text":"Hel\\u006co"}', False),
        (b'{"place":0,\n"text":"Hello"}', False),
        (b'{"place":1,"text":"Hello"}', False),
        (b'{"place":0,"text":"Hello"', False),
    ],
)
def test_an_event_is_learnt_where_its_text_can_be_told_from_the_rest(learnt_from: bytes, is_learnt: bool) -> None:
    run, chunk = TextRun(read_alone), b"data: " + learnt_from + b"\n\n"

    run.learn(SseEvent("message", learnt_from), "Hello")

    assert skimmed(run, chunk) == (([TextDelta("Hello")], b"") if is_learnt else ([], chunk))


@pytest.mark.parametrize("text", ["é", "a\tb", 'a"b', "a\\b"])
def test_nothing_is_learnt_of_a_text_that_may_be_written_in_several_ways(text: str) -> None:
    run, chunk = TextRun(read_alone), b"data: " + written("no padding", text) + b"\n\n"

    run.learn(SseEvent("message", written("no padding", text)), text)

    assert skimmed(run, chunk) == ([], chunk)


def test_what_is_learnt_last_counts() -> None:
    run = learnt("no padding", "", index=1)
    again = written("spaces", "Hello")

    run.learn(SseEvent("message", again), "Hello", 2)

    assert skimmed(run, b"data: " + again + b"\n\n") == ([TextDelta("Hello", 2)], b"")


@pytest.mark.parametrize("learnt_from", ['{"place":0,"text":"Hello","pad":""}', '{"text":"Hello","pad":"a","place":0}'])
def test_padding_that_is_empty_or_not_at_the_end_is_part_of_the_event(learnt_from: str) -> None:
    run = TextRun(read_alone, padding=b'"pad":"')
    same, other = learnt_from.replace("Hello", "Hi"), learnt_from.replace('"pad":"', '"pad":"b')

    run.learn(SseEvent("message", learnt_from.encode()), "Hello")

    assert skimmed(run, f"data: {same}\n\ndata: {other}\n\n".encode()) == (
        [TextDelta("Hi")],
        f"data: {other}\n\n".encode(),
    )


def test_the_first_second_fourth_and_eighth_event_are_looked_at() -> None:
    looked_at: list[int] = []
    number = 0

    def read_text(_: bytes) -> None:
        looked_at.append(number)

    run = TextRun(read_text)
    for number in range(1, 20):  # noqa: B007  # it is read by `read_text`
        run.learn(SseEvent("message", written("no padding", "Hello")), "Hello")

    assert looked_at == [1, 2, 4, 8, 16]
