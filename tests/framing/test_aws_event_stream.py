"""AWS event streams: the laws of cutting and spoiling, the vectors of others, then case by case."""

import base64
import json
import struct
import tracemalloc
from itertools import pairwise
from typing import Any
from uuid import UUID
from zlib import crc32

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st

from rxstream.errors import FramingError, TransportError
from rxstream.framing import AwsEventStreamParser, AwsMessage
from rxstream.framing.aws_event_stream import HeaderValue
from rxstream.operators import parse_aws_event_stream
from tests.shared import SHARED, needs_shared

NUMBERS = {2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q"}


def header(name: str, kind: int, value: Any) -> bytes:
    """A header as it is written."""
    head = struct.pack(">B", len(name.encode())) + name.encode() + struct.pack(">B", kind)
    match kind:
        case 0 | 1:
            return head
        case 6 | 7:
            data = value if kind == 6 else value.encode()
            return head + struct.pack(">H", len(data)) + data
        case 9:
            return head + value.bytes
        case number:
            return head + struct.pack(NUMBERS[number], value)


def written(block: bytes, payload: bytes, *, total: int | None = None, headers: int | None = None) -> bytes:
    """A message with the right checksums, and lengths that may be wrong."""
    size = 16 + len(block) + len(payload)
    lengths = struct.pack(">II", size if total is None else total, len(block) if headers is None else headers)
    checked = lengths + struct.pack(">I", crc32(lengths)) + block + payload
    return checked + struct.pack(">I", crc32(checked))


names = st.text(max_size=12)
values: st.SearchStrategy[tuple[int, Any]] = st.one_of(
    st.sampled_from([(0, True), (1, False)]),
    *(
        st.tuples(st.just(kind), st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
        for kind, bits in [(2, 8), (3, 16), (4, 32), (5, 64), (8, 64)]
    ),
    st.tuples(st.just(6), st.binary(max_size=20)),
    st.tuples(st.just(7), st.text(max_size=20)),
    st.tuples(st.just(9), st.uuids()),
)
contents = st.tuples(st.dictionaries(names, values, max_size=5), st.binary(max_size=40))


def message(content: tuple[dict[str, tuple[int, Any]], bytes]) -> tuple[bytes, AwsMessage]:
    """A message as it is written, and as it is read."""
    headers, payload = content
    block = b"".join(header(name, kind, value) for name, (kind, value) in headers.items())
    return written(block, payload), AwsMessage({name: value for name, (_, value) in headers.items()}, payload)


messages = contents.map(message)
EVENT = message(({":event-type": (7, "text"), ":message-type": (7, "event")}, b'{"a":1}'))
OTHER = message(({":event-type": (7, "text"), ":message-type": (7, "event")}, b'{"a":2}'))


def run(chunks: list[bytes], **options: Any) -> tuple[list[AwsMessage], str | bool]:
    """What the parser made of `chunks`, and its error, or whether it ended inside a message."""
    parser = AwsEventStreamParser(**options)
    made: list[AwsMessage] = []
    try:
        for chunk in chunks:
            made += parser.feed(chunk)
        made += parser.flush()
    except FramingError as error:
        return made + error.frames, error.message
    return made, parser.ended_mid_message


def plain(made: list[AwsMessage]) -> list[tuple[dict[str, HeaderValue], bytes]]:
    return [(dict(each.headers), each.payload) for each in made]


@given(written=st.lists(messages, max_size=4))
def test_what_was_written_is_read(written: list[tuple[bytes, AwsMessage]]) -> None:
    made, ended_inside = run([b"".join(wire for wire, _ in written)])

    assert plain(made) == plain([expected for _, expected in written])
    assert [[*each.headers] for each in made] == [[*expected.headers] for _, expected in written]
    assert ended_inside is False


@given(wires=st.lists(messages.map(lambda pair: pair[0]) | st.binary(max_size=20), max_size=4), data=st.data())
def test_where_the_chunks_are_cut_does_not_matter(wires: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(wires)
    limit = data.draw(st.sampled_from([None, 40, 1_000]))
    cuts = data.draw(st.lists(st.integers(0, len(wire))).map(sorted))

    whole = run([wire], max_message_bytes=limit)

    assert run([wire[a:b] for a, b in pairwise([0, *cuts, len(wire)])], max_message_bytes=limit) == whole
    assert run([wire[at : at + 1] for at in range(len(wire))], max_message_bytes=limit) == whole


@given(written=st.lists(messages, min_size=1, max_size=3), data=st.data())
def test_a_spoilt_byte_is_always_noticed(written: list[tuple[bytes, AwsMessage]], data: st.DataObject) -> None:
    wire = bytearray(b"".join(wire for wire, _ in written))
    place = data.draw(st.integers(0, len(wire) - 1))
    wire[place] ^= data.draw(st.integers(1, 255))
    ends = [sum(len(wire) for wire, _ in written[: count + 1]) for count in range(len(written))]

    made, error = run([bytes(wire)])

    assert isinstance(error, str)
    assert plain(made) == plain([expected for (_, expected), end in zip(written, ends, strict=True) if end <= place])


@given(chunks=st.lists(st.binary(max_size=64)))
def test_garbage_gives_nothing_but_a_framing_error(chunks: list[bytes]) -> None:
    made, error = run(chunks)

    assert made == []
    assert isinstance(error, str) or error is any(chunks)


@given(block=st.binary(max_size=40), payload=st.binary(max_size=8))
def test_headers_of_garbage_under_good_checksums_are_read_or_refused(block: bytes, payload: bytes) -> None:
    made, error = run([written(block, payload)])

    assert (len(made), error) == (1, False) or (made == [] and "header" in str(error))


def test_the_end_inside_a_message_is_noted_and_the_message_is_not_handed_out() -> None:
    wire = EVENT[0] + OTHER[0]
    ends = {0, len(EVENT[0]), len(wire)}

    for end in range(len(wire) + 1):
        made, ended_inside = run([wire[:end]])

        assert len(made) == (end >= len(EVENT[0])) + (end == len(wire))
        assert ended_inside is (end not in ends)


def test_nothing_unfinished_is_handed_out_when_the_input_broke() -> None:
    parser = AwsEventStreamParser()
    assert not parser.ended_mid_message
    parser.feed(EVENT[0][:-1])

    assert parser.fail(TransportError("the connection was reset")) == []
    assert parser.ended_mid_message


def test_messages_before_an_error_come_with_it() -> None:
    with pytest.raises(FramingError, match="checksum") as caught:
        AwsEventStreamParser().feed(EVENT[0] + OTHER[0] + b"\0" * 12)

    assert plain(caught.value.frames) == plain([EVENT[1], OTHER[1]])


@pytest.mark.parametrize(
    ("wire", "complaint", "limit"),
    [
        (written(b"", b"", total=15), "a message of 15 bytes can't hold 0 bytes of headers", None),
        (written(b"", b"", total=0), "can't hold", None),
        (written(b"", b"", headers=1), "a message of 16 bytes can't hold 1 bytes of headers", None),
        (written(b"", b"", total=2**32 - 1), "a message has more than 100 bytes", "event"),
        (written(b"", b"x" * 85), "a message has more than 100 bytes", "event"),
        (written(b"", b"", total=2**32 - 1, headers=2**17 + 1), "more than 131072 bytes of headers", "event"),
        (written(header("a", 7, "b") * 2, b""), "two headers of one name", None),
        (written(header("a", 1, None)[:-1] + b"\x0a", b""), "a value of the type 10", None),
        (written(b"\x01\xff\x00", b""), "a header is no UTF-8", None),
        (written(b"\x01a\x07\x00\x01\xff", b""), "a header is no UTF-8", None),
        (written(b"\x05a", b""), "runs past the end", None),
        (written(b"\x01a", b""), "runs past the end", None),
        (written(b"\x01a\x04\x00\x00", b""), "runs past the end", None),
        (written(b"\x01a\x06\x00", b""), "runs past the end", None),
        (written(b"\x01a\x06\x00\x02x", b""), "runs past the end", None),
        (written(b"\x01a\x09" + b"x" * 15, b""), "runs past the end", None),
        (b"HTTP/1.1 502 ", "this is no event stream", None),
    ],
)
def test_what_is_wrong_is_named(wire: bytes, complaint: str, limit: str | None) -> None:
    with pytest.raises(FramingError, match=complaint) as caught:
        AwsEventStreamParser(100).feed(wire)

    assert caught.value.limit == limit


def test_what_reaches_a_limit_has_not_passed_it() -> None:
    block = header("a", 6, b"x" * 65_531) + header("b", 6, b"x" * 65_531)

    [longest], _ = run([written(b"", b"x" * 84)], max_message_bytes=100)
    [fullest], _ = run([written(block, b"")])

    assert longest.payload == b"x" * 84
    assert (len(block), [*fullest.headers]) == (128 << 10, ["a", "b"])


def test_a_length_alone_makes_room_for_nothing() -> None:
    prelude = written(b"", b"", total=2**32 - 1)[:12]
    parser = AwsEventStreamParser(None)

    tracemalloc.start()
    made = parser.feed(prelude)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert made == []
    assert peak < 10_000


def test_a_message_too_long_is_refused_before_it_has_come() -> None:
    with pytest.raises(FramingError, match="more than"):
        AwsEventStreamParser().feed(written(b"", b"", total=25 << 20)[:12])


def test_a_message_of_a_mebibyte_in_small_pieces_is_one_frame() -> None:
    wire = written(b"", b"x" * 2**20)

    made, _ = run([wire[at : at + 64] for at in range(0, len(wire), 64)])

    assert [len(each.payload) for each in made] == [2**20]


def test_headers_can_not_be_changed_since_messages_share_them() -> None:
    [first, second], _ = run([EVENT[0] + OTHER[0]])
    headers: Any = first.headers

    assert first.headers is second.headers
    with pytest.raises(TypeError):
        headers["x"] = 1


def test_many_different_headers_are_not_all_remembered() -> None:
    parser = AwsEventStreamParser()

    for number in range(1_000):
        parser.feed(written(header("n", 4, number), b""))

    assert len(vars(parser)["_known"]) <= 64


def test_a_payload_that_is_no_text_can_be_shown() -> None:
    [shown], _ = run([written(b"", b"caf\xc3\xa9 \xff")])

    assert shown.text == "café \ufffd"


def test_the_operator_gives_the_messages_and_then_the_error() -> None:
    made: list[AwsMessage] = []
    errors: list[Exception] = []
    wire = EVENT[0] + OTHER[0] + b"\0" * 16

    reactivex.of(wire[:20], wire[20:]).pipe(parse_aws_event_stream()).subscribe(made.append, errors.append)

    assert plain(made) == plain([EVENT[1], OTHER[1]])
    assert [type(error) for error in errors] == [FramingError]


# --- The vectors of others ---


def vectors() -> list[dict[str, Any]]:
    path = SHARED / "captures" / "bedrock" / "vectors.json"
    return json.loads(path.read_bytes())["eventstream_frames"] if path.exists() else []


def value_of(stated: dict[str, Any]) -> HeaderValue:
    """A header's value as the vector states it."""
    match stated["type_name"]:
        case "bytes":
            return base64.b64decode(stated["value"])
        case "uuid":
            return UUID(stated["value"])
        case _:
            return stated["value"]


@needs_shared
@pytest.mark.parametrize("vector", [each for each in vectors() if each["valid"]], ids=lambda each: each["name"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_good_vectors_hold_what_they_state(vector: dict[str, Any], size: int) -> None:
    wire = base64.b64decode(vector["bytes_base64"])

    made, ended_inside = run([wire[at : at + size] for at in range(0, len(wire), size)])

    stated = [
        ({each["name"]: value_of(each) for each in frame["headers"]}, base64.b64decode(frame["payload_base64"]))
        for frame in vector["frames"]
    ]
    assert plain(made) == stated
    assert [[type(value) for value in each.headers.values()] for each in made] == [
        [type(value) for value in headers.values()] for headers, _ in stated
    ]
    assert ended_inside is False


@needs_shared
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("corrupted_header_len", "lengths were spoilt: their checksum is wrong"),
        ("corrupted_payload", "a message was spoilt: its checksum is wrong"),
        ("unknown_header_type", "a value of the type 96"),
        ("header_string_cut_off", "runs past the end"),
    ],
)
def test_bad_vectors_are_refused_for_their_reason(name: str, complaint: str) -> None:
    [vector] = [each for each in vectors() if each["name"] == name]

    made, error = run([base64.b64decode(vector["bytes_base64"])])

    assert made == []
    assert complaint in str(error)


@needs_shared
def test_a_vector_cut_inside_a_message_gives_those_before_it() -> None:
    [vector] = [each for each in vectors() if each["name"] == "cut_inside_second_frame"]

    made, ended_inside = run([base64.b64decode(vector["bytes_base64"])])

    assert [each.payload for each in made] == [b'{"role":"assistant"}']
    assert ended_inside is True


@needs_shared
def test_no_vector_is_left_out() -> None:
    refused = {"corrupted_header_len", "corrupted_payload", "unknown_header_type", "header_string_cut_off"}

    assert {each["name"] for each in vectors() if not each["valid"]} == {*refused, "cut_inside_second_frame"}
