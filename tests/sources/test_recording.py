"""`replay` and `recordings`: what was recorded comes again, and whatever is wrong with a file is said, once."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import reactivex
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from reactivex import Observable
from reactivex import operators as ops
from reactivex.disposable import Disposable

from rxstream.dialects import dialect
from rxstream.errors import (
    ConfigurationError,
    FramingError,
    RateLimitedError,
    StreamError,
    TransportError,
    TruncatedStreamError,
)
from rxstream.flow import Gate
from rxstream.framing.recording import Began, Chunk, Ended, Failure, Record, read_record, write_record
from rxstream.operators import decode
from rxstream.providers import AiProvider
from rxstream.schedulers import FlowScheduler
from rxstream.sources import recordings, replay
from rxstream.sources.recording import MAX_LINE_BYTES, played, records_of
from rxstream.taps import Outcome, record
from rxstream.tokens import StreamStart, StreamToken, TextDelta
from tests.demand import turns
from tests.loopback import CHUNKED, Exchange, serving
from tests.recordings import errors
from tests.strategies import tokens
from tests.toy import TOY
from tests.virtual_loop import VirtualTimeLoop, run_virtual, virtual_time

Heard = list[tuple[float, Any]]
"""When what came; the end is an error or `None`."""

chunks = st.lists(st.binary(max_size=12), max_size=12)
waits = st.lists(st.integers(0, 5_000_000).map(lambda microseconds: microseconds / 1e6), min_size=13, max_size=13)
quick = settings(max_examples=settings().max_examples // 4)
"""Each example is a file and a loop."""

ends: st.SearchStrategy[StreamError | None] = st.none() | errors


def slow(items: Sequence[Any], waits: Sequence[float], end: Exception | None = None) -> Observable[Any]:
    """Return `items` and `end`, each after its wait, of the running loop."""
    loop = asyncio.get_running_loop()

    def subscribe(observer: Any, _: Any = None) -> Any:
        async def run() -> None:
            for item, wait in zip(items, waits, strict=False):
                await asyncio.sleep(wait)
                observer.on_next(item)
            await asyncio.sleep(waits[len(items)])
            if end is None:
                observer.on_completed()
            else:
                observer.on_error(end)

        task = loop.create_task(run())
        return Disposable(lambda: void(task.cancel()))

    return Observable(subscribe)


def void(_: object) -> None:
    """What an action gives that should give nothing."""


async def heard(stream: Observable[Any]) -> Heard:
    """Listen to the end."""
    loop = asyncio.get_running_loop()
    items, is_over = Heard(), loop.create_future()
    began = loop.time()

    def hear(item: Any) -> None:
        items.append((round(loop.time() - began, 6), item))

    def end(error: Exception | None = None) -> None:
        hear(error)
        is_over.set_result(None)

    stream.subscribe(hear, end, end)
    await is_over
    return items


def written(path: Path, items: Sequence[Any], error: Exception | None = None, **options: Any) -> Path:
    """Record items that come at once."""
    end = reactivex.empty() if error is None else reactivex.throw(error)
    stream = reactivex.concat(reactivex.from_iterable(items), end)
    stream.pipe(record(path, **options)).subscribe(on_error=lambda _: None)
    return path


def replayed(path: Path, *, speed: float | None = None, **options: Any) -> tuple[list[Any], Exception | None]:
    """What a file gives, and the error that it ends in."""
    *items, (_, end) = run_virtual(heard(replay(path, speed=speed, **options)))
    return [item for _, item in items], end


def facts(error: Exception | None) -> Any:
    """What an error says, its cause and what was completed before it aside."""
    said: dict[str, Any] = {"is_retryable": getattr(error, "is_retryable", None), "completed": []}
    return type(error), str(error), error and vars(error) | said


def is_same(error: Exception | None, other: Exception | None) -> bool:
    """Whether two errors, or ends, say the same."""
    return facts(error) == facts(other)


def lines_of(items: Sequence[bytes], error: Exception | None = None) -> list[bytes]:
    """Return the lines of a recording, the same ones each time."""
    end = (
        Ended("id", len(items) + 1, 1.0, "failed", Failure.of(error))
        if error
        else Ended("id", len(items) + 1, 1.0, "completed")
    )
    middle = [Chunk.of("id", number, 0.5, item) for number, item in enumerate(items, 1)]
    return [write_record(one) for one in (Began("id", 0, 0.0, 1), *middle, end)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stream.rec"


# What is recorded is what is replayed


@quick
@given(chunks | st.lists(tokens, max_size=8), waits, ends, st.sampled_from([1.0, 0.5, 4.0]))
def test_what_is_recorded_is_replayed_at_its_times(
    items: list[Any], waits: list[float], end: StreamError | None, speed: float
) -> None:
    async def run(path: Path) -> tuple[Heard, Heard]:
        loop = asyncio.get_running_loop()
        original = await heard(slow(items, waits, end).pipe(record(path, now=loop.time)))
        return original, await heard(replay(path, speed=speed))

    with TemporaryDirectory() as folder:
        original, again = run_virtual(run(Path(folder) / "stream.rec"))

    assert [item for _, item in again[:-1]] == [item for _, item in original[:-1]]
    assert [at * speed for at, _ in again] == pytest.approx([at for at, _ in original], abs=1e-5)
    assert is_same(again[-1][1], original[-1][1])


@quick
@given(chunks, st.integers(1, 10), ends)
def test_cut_bytes_are_the_same_bytes(items: list[bytes], cut: int, end: StreamError | None) -> None:
    with TemporaryDirectory() as folder:
        pieces, error = replayed(written(Path(folder) / "stream.rec", items, end), cut=cut)

    assert b"".join(pieces) == b"".join(items)
    assert all(len(piece) == cut for piece in pieces[:-1])
    assert all(0 < len(piece) <= cut for piece in pieces)
    assert is_same(error, end)


@virtual_time
async def test_a_piece_comes_when_its_last_byte_came(tmp_path: Path) -> None:
    loop, path = asyncio.get_running_loop(), tmp_path / "stream.rec"
    await heard(slow([b"abc", b"d", b"e"], [1, 1, 1, 1]).pipe(record(path, now=loop.time)))

    assert await heard(replay(path, cut=2)) == [(1.0, b"ab"), (2.0, b"cd"), (3.0, b"e"), (4.0, None)]


@pytest.mark.parametrize("speed", [None, float("inf")])
def test_without_a_speed_nothing_is_waited_for(speed: float | None, path: Path) -> None:
    path.write_bytes(
        b"".join(
            map(write_record, [Began("i", 0, 0.0, 1), Chunk("i", 1, 50.0, "a"), Ended("i", 2, 3600.0, "completed")])
        )
    )

    assert run_virtual(heard(replay(path, speed=speed))) == [(0.0, b"a"), (0.0, None)]


# What a damaged file gives


def is_told(error: Exception | None) -> bool:
    """Whether an error is one that a broken file may end in, and says so."""
    return isinstance(error, FramingError | TruncatedStreamError) and "record" in error.message


@quick
@given(st.lists(st.binary(max_size=6), min_size=1, max_size=5), st.data())
def test_a_file_cut_anywhere_gives_what_came_before_and_one_error(items: list[bytes], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path, whole = Path(folder) / "stream.rec", b"".join(lines_of(items))
        place = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:place])

        given, error = replayed(path)

    assert given == items[: max(whole[:place].count(b"\n") - 1, 0)]
    assert is_told(error)


@quick
@given(st.lists(st.binary(max_size=6), min_size=1, max_size=5), ends, st.data())
def test_a_changed_byte_gives_what_came_before_and_one_error(
    items: list[bytes], end: StreamError | None, data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        path, broken = Path(folder) / "stream.rec", bytearray(b"".join(lines_of(items, end)))
        place = data.draw(st.integers(0, len(broken) - 1))
        before = bytes(broken[:place]).count(b"\n")
        broken[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(broken)

        given, error = replayed(path)

    assert given == items[: max(before - 1, 0)]
    assert is_told(error)


def read(path: Path) -> tuple[list[bytes], StreamError | None]:
    """What a file gives, read without a loop."""
    items: list[bytes] = []
    try:
        for one in records_of(path):
            if isinstance(one, Chunk):
                items.append(one.data)
            elif isinstance(one, Ended):
                return items, one.error
    except StreamError as error:
        return items, error
    return items, None


def test_a_file_is_noticed_to_be_cut_at_each_of_its_bytes(path: Path) -> None:
    items = [b"data: a", b"\xff\xfe", b""]
    whole = b"".join(lines_of(items))

    for place in range(len(whole)):
        path.write_bytes(whole[:place])

        given, error = read(path)

        assert given == items[: max(whole[:place].count(b"\n") - 1, 0)]
        assert is_told(error)


@pytest.mark.parametrize("change", [0x01, 0x20, 0xFF])
def test_each_byte_of_a_file_is_noticed_to_be_another(change: int, path: Path) -> None:
    items = [b"data: a", b"\xff\xfe", b""]
    whole = b"".join(lines_of(items, RateLimitedError("no", status=429)))

    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= change
        path.write_bytes(broken)

        given, error = read(path)

        assert given == items[: max(whole[:place].count(b"\n") - 1, 0)]
        assert is_told(error)


@quick
@given(st.lists(st.binary(max_size=6), min_size=3, max_size=5), st.data())
def test_lines_that_are_lost_moved_or_repeated_are_told(items: list[bytes], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path, lines = Path(folder) / "stream.rec", lines_of(items)
        changed = data.draw(st.permutations(lines) | st.lists(st.sampled_from(lines), max_size=len(lines) + 1))
        path.write_bytes(b"".join(changed))

        given, error = replayed(path)

    if error is None:
        assert given == items
    else:
        assert given == items[: len(given)]
        assert is_told(error)


@quick
@given(st.binary(max_size=80))
def test_what_is_no_recording_is_told(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "stream.rec"
        path.write_bytes(data)

        assert replayed(path)[0] == []
        with pytest.raises(FramingError, match=r"stream\.rec holds no recording"):
            recordings(path)


def test_the_error_names_the_line(path: Path) -> None:
    lines = written(path, [b"a", b"b", b"c"]).read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"b", b"x"), *lines[3:]]))

    (given, error), (recording,) = replayed(path), recordings(path)

    assert given == [b"a"]
    assert str(error) == "the recording is damaged after 2 records; line 3 of the file is not as it was written"
    assert (recording.items, recording.outcome, str(recording.error)) == (1, None, str(error))


def test_a_recording_without_its_beginning_is_one_of_which_nothing_is_good(path: Path) -> None:
    path.write_bytes(written(path, [b"a", b"b"]).read_bytes()[1:])

    (recording,) = recordings(path)

    assert (recording.items, recording.outcome) == (0, None)
    assert is_told(recording.error)


def test_what_breaks_off_is_not_worth_a_retry(path: Path) -> None:
    path.write_bytes(written(path, [b"a", b"b"]).read_bytes()[:-5])

    given, error = replayed(path)

    assert given == [b"a", b"b"]
    assert isinstance(error, TruncatedStreamError)
    assert not error.is_retryable
    assert "breaks off after 3 records; line 4" in error.message


def test_what_is_left_over_comes_before_the_break(path: Path) -> None:
    path.write_bytes(written(path, [b"abc"]).read_bytes()[:-5])

    assert replayed(path, cut=2)[0] == [b"ab", b"c"]


def test_a_later_format_is_refused(path: Path) -> None:
    path.write_bytes(write_record(Began("i", 0, 0.0, 2)))

    assert "has format 2" in str(replayed(path)[1])


def test_a_line_that_no_recording_has_is_not_held_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_LINE_BYTES >= 1024 * 1024
    monkeypatch.setattr("rxstream.sources.recording.MAX_LINE_BYTES", 200)

    given, error = replayed(written(path, [b"a", b"b" * 1_000]))

    assert given == [b"a"]
    assert is_told(error)


# Failures


@pytest.mark.parametrize("cut", [None, 1, 5])
def test_a_stream_that_failed_decodes_to_the_same(cut: int | None, path: Path) -> None:
    body = [b"start\ntext He", b"llo\ntext", b" world\n"]
    failure = RateLimitedError("slow down", provider="toy", status=429, request_id="r-1", retry_after=2.0)

    def decoded(stream: Observable[bytes]) -> tuple[list[StreamToken], Any]:
        *items, (_, error) = run_virtual(heard(stream.pipe(decode(TOY))))
        return [token for _, token in items], error

    live = reactivex.concat(reactivex.from_iterable(body), reactivex.throw(failure))
    tokens, error = decoded(live.pipe(record(path)))
    again, replayed_error = decoded(replay(path, speed=None, cut=cut))

    assert again == tokens
    assert is_same(replayed_error, error)
    assert error.partial.text == "Helloworld"


def test_a_foreign_error_is_what_decoders_make_of_it(path: Path) -> None:
    body = b"start\ntext Hello\n"
    live = reactivex.concat(reactivex.of(body), reactivex.throw(OSError("boom"))).pipe(record(path))

    first = run_virtual(heard(live.pipe(decode(TOY))))[-1][1]
    again = run_virtual(heard(replay(path).pipe(decode(TOY))))[-1][1]

    assert isinstance(replayed(path)[1], TransportError)
    assert str(first) == "toy: the source of the stream failed (OSError)"
    assert is_same(again, first)


def test_an_error_of_a_class_that_is_not_known_here_is_the_nearest_that_is(path: Path) -> None:
    class HouseRuleError(RateLimitedError):
        pass

    _, error = replayed(written(path, [], HouseRuleError("no", status=429)))

    assert type(error) is RateLimitedError


def test_who_let_go_of_a_stream_does_not_know_its_end(path: Path) -> None:
    reactivex.of(b"a", b"b").pipe(record(path), ops.take(1)).subscribe()

    given, error = replayed(path)

    assert given == [b"a"]
    assert isinstance(error, TruncatedStreamError)
    assert "let go of the stream" in error.message
    assert recordings(path)[0].outcome is Outcome.CANCELLED


REFUSAL = (
    b"HTTP/1.1 429 Too Many Requests\r\nx-request-id: r-1\r\nset-cookie: session=secret-3\r\n"
    b"content-length: 9\r\n\r\nslow down"
)


@pytest.mark.parametrize("answer", [REFUSAL, CHUNKED + b"11\r\nstart\ntext Hello\n\r\n"], ids=["refused", "cut"])
def test_a_provider_that_failed_is_replayed_to_the_word_and_gives_no_secret_away(answer: bytes, path: Path) -> None:
    async def answers(exchange: Exchange) -> None:
        while await exchange.read_request():
            await exchange.send(answer)
            if answer is not REFUSAL:
                exchange.reset()

    async def run() -> tuple[Any, Any]:
        async with serving(answers) as url, AiProvider(TOY, api_key="secret-1", base_url=url) as provider:
            chunks = provider.chunks("secret-2", model="toy")
            live = await heard(chunks.pipe(record(path, api="toy"), decode(TOY)))
        return live, await heard(replay(path).pipe(decode(TOY)))

    live, again = asyncio.run(run())

    assert isinstance(live[-1][1], RateLimitedError if answer is REFUSAL else TransportError)
    assert is_same(again[-1][1], live[-1][1])
    assert [token for _, token in again[:-1]] == [token for _, token in live[:-1]]
    assert b"secret" not in path.read_bytes()


# Several in one file, and what is told of them


def test_the_last_recording_is_the_default(path: Path) -> None:
    for item in (b"a", b"b", b"c"):
        written(path, [item])

    assert [replayed(path, **which)[0] for which in ({}, {"which": 0}, {"which": 1}, {"which": -3})] == [
        [b"c"],
        [b"a"],
        [b"b"],
        [b"a"],
    ]
    assert "there are 3 recordings in stream.rec, and no number 3" in str(replayed(path, which=3)[1])


@quick
@given(st.lists(st.lists(st.binary(max_size=4), max_size=4), min_size=2, max_size=3), st.randoms())
def test_recordings_that_were_under_way_together_are_told_apart(streams: list[list[bytes]], random: Any) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "stream.rec"
        queues = [
            [write_record(replace(read_record(line), id=f"{place}")) for line in lines_of(items)]
            for place, items in enumerate(streams)
        ]
        mixed: list[bytes] = []
        while any(queues):
            mixed.append(random.choice([queue for queue in queues if queue]).pop(0))
        path.write_bytes(b"".join(mixed))

        found = [replayed(path, which=which) for which in range(len(streams))]

    assert sorted(items for items, _ in found) == sorted(streams)
    assert all(error is None for _, error in found)


def test_damage_in_one_recording_leaves_the_others_whole(path: Path) -> None:
    for item in (b"a", b"b", b"c"):
        written(path, [item])
    path.write_bytes(path.read_bytes().replace(b'"b"', b'"x"'))

    first, second, third = recordings(path)

    assert (first.error, second.items, third.error) == (None, 0, None)
    assert is_told(second.error)


def test_a_last_recording_of_which_nothing_is_left_is_not_taken_for_the_one_before(path: Path) -> None:
    written(path, [b"a"])
    first = path.read_bytes()
    written(path, [b"b"])
    path.write_bytes(path.read_bytes()[: len(first) + 20])

    given, error = replayed(path)

    assert given == []
    assert "its beginning is missing; line 4 of the file" in str(error)
    assert [one.id is None for one in recordings(path)] == [False, True]


def test_a_recording_says_what_it_is(path: Path) -> None:
    failure = RateLimitedError("slow down", status=429)
    (recording,) = recordings(written(path, [b"abc", b"\xff"], failure, api="openai.chat", model="m"))

    assert (recording.api, recording.model, recording.holds) == ("openai.chat", "m", "chunks")
    assert (recording.items, recording.bytes, recording.outcome) == (2, 4, Outcome.FAILED)
    assert is_same(recording.error, failure)
    assert recording.date is not None
    assert recording.seconds > 0


def test_tokens_say_themselves_what_they_are_of(path: Path) -> None:
    start = StreamStart("1", "gpt-5", "openai.chat")
    (recording,) = recordings(written(path, [TextDelta("a"), start]))

    assert (recording.api, recording.model, recording.holds) == ("openai.chat", "gpt-5", "tokens")


def test_a_recording_names_the_dialect_that_reads_it(path: Path) -> None:
    body = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    (recording,) = recordings(written(path, [body], api=dialect("openai.chat").name))
    assert recording.api is not None

    given = run_virtual(heard(replay(path).pipe(decode(recording.api))))

    assert TextDelta("Hi") in [token for _, token in given]


# What can't be


@pytest.mark.parametrize("speed", [0, -1.0, float("nan")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ConfigurationError, match="more than 0"):
        replay("stream.rec", speed=speed)


def test_a_cut_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        replay("stream.rec", cut=0)


def test_tokens_cannot_be_cut(path: Path) -> None:
    given, error = replayed(written(path, [TextDelta("a")]), cut=3)

    assert given == []
    assert isinstance(error, ConfigurationError)


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_file_that_cannot_be_read_is_told_to_who_subscribes(is_folder: bool, path: Path) -> None:
    if is_folder:
        path.mkdir()

    given, error = replayed(path)

    assert given == []
    assert isinstance(error, ConfigurationError)
    assert "cannot read stream.rec" in str(error)


def test_a_disk_that_fails_on_the_way_is_told_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(line: bytes) -> Record:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("rxstream.sources.recording.read_record", fails)  # as good a place as the read itself

    _, error = replayed(written(path, [b"a"]))

    assert isinstance(error, ConfigurationError)
    assert "cannot read stream.rec: Input/output error" in str(error)


# Demand


@virtual_time
async def test_what_fell_due_meanwhile_comes_when_it_is_wanted(tmp_path: Path) -> None:
    loop, path = asyncio.get_running_loop(), tmp_path / "stream.rec"
    await heard(slow([b"a", b"b", b"c"], [1, 1, 1, 3]).pipe(record(path, now=loop.time)))
    gate, items, began = Gate(), Heard(), loop.time()

    def hear(item: bytes) -> None:
        items.append((loop.time() - began, item))
        if item == b"a":
            gate.close("test")
            loop.call_later(4, gate.open, "test")

    over = loop.create_future()
    replay(path).subscribe(
        hear, on_completed=lambda: over.set_result(loop.time() - began), scheduler=FlowScheduler(loop, gate)
    )

    assert await over == 6.0
    assert items == [(1.0, b"a"), (5.0, b"b"), (5.0, b"c")]


@virtual_time
async def test_looking_for_a_recording_takes_none_of_its_time() -> None:
    async def found() -> AsyncGenerator[Record]:
        await asyncio.sleep(5)
        yield Began("id", 0, 0.0, 1)
        yield Chunk("id", 1, 1.0, "a")

    assert await heard(played(found, speed=1.0, cut=None)) == [(6.0, b"a"), (6.0, None)]


@virtual_time
async def test_a_recorded_end_needs_no_demand(tmp_path: Path) -> None:
    loop, gate = asyncio.get_running_loop(), Gate()
    over = loop.create_future()
    path = written(tmp_path / "stream.rec", [b"a"])

    replay(path).subscribe(
        lambda _: gate.close("test"), on_completed=lambda: over.set_result(None), scheduler=FlowScheduler(loop, gate)
    )

    await over


@virtual_time
async def test_disposing_leaves_no_timer_and_no_open_file(tmp_path: Path) -> None:
    loop, path = asyncio.get_running_loop(), tmp_path / "stream.rec"
    assert isinstance(loop, VirtualTimeLoop)
    await heard(slow([b"a", b"b"], [1, 100, 1]).pipe(record(path, now=loop.time)))
    items: list[bytes] = []

    subscription = replay(path).subscribe(items.append, scheduler=FlowScheduler(loop))
    await asyncio.sleep(2)
    subscription.dispose()
    await turns()

    assert items == [b"a"]
    assert loop.pending_timers == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_a_long_recording_lets_others_run_now_and_then() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    others_ran = 0

    async def read() -> AsyncGenerator[Record]:
        for number in range(3_000):
            loop.advance(0.0001)  # as long as it takes to read a line
            yield Chunk("id", number, 0.0, "a")

    async def other() -> None:
        nonlocal others_ran
        while True:
            others_ran += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    items = await heard(played(read, speed=None, cut=None))
    beside.cancel()

    assert len(items) == 3_001
    assert 250 <= others_ran <= 400


def test_each_subscription_reads_the_file_anew(path: Path) -> None:
    stream = replay(written(path, [b"a"]), speed=None)
    assert run_virtual(heard(stream))[0] == (0.0, b"a")

    written(path, [b"b"])

    assert run_virtual(heard(stream))[0] == (0.0, b"b")
