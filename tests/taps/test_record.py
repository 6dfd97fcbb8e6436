"""`record`: what is in the file, what never is, and that a file can't harm a stream."""

import gc
import os
import stat
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import reactivex

from rxstream.framing.recording import Began, Chunk, Ended, Record, read_record
from rxstream.sources import recordings
from rxstream.taps import Outcome, record
from rxstream.tokens import TextDelta
from tests.demand import Faucet, quick_switches

SECRET = "sk-what-nobody-may-know"


def lines(path: Path) -> list[Record]:
    return [read_record(line) for line in path.read_bytes().splitlines(keepends=True)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stream.rec"


def test_each_line_is_json_with_its_time(path: Path) -> None:
    times = iter([10.0, 10.0, 10.25, 11.5, 13.0])
    reactivex.of(b"abc", b"\xff").pipe(record(path, api="toy", model="m", now=lambda: next(times))).subscribe()

    records = [msgspec.json.decode(line)[1] for line in path.read_bytes().splitlines()]

    assert [(one["type"], one["number"], one["at"]) for one in records] == [
        ("Began", 0, 0.0),
        ("Chunk", 1, 0.25),
        ("Chunk", 2, 1.5),
        ("Ended", 3, 3.0),
    ]
    assert (records[0]["api"], records[0]["model"], records[0]["version"]) == ("toy", "m", 1)
    assert (records[1]["text"], records[2]["base64"], records[3]["how"]) == ("abc", "/w==", "completed")
    assert {one["id"] for one in records} == {records[0]["id"]}


def test_a_record_is_in_the_file_before_its_item_goes_on(path: Path) -> None:
    seen: list[int] = []

    reactivex.of(b"a", b"b").pipe(record(path)).subscribe(lambda _: seen.append(len(lines(path))))

    assert seen == [2, 3]


def test_headers_are_redacted_by_default(path: Path) -> None:
    headers = {
        "Content-Type": "text/event-stream",
        "X-Request-Id": "r-1",
        "x-ratelimit-remaining-tokens": "7",
        "Set-Cookie": SECRET,
        "authorization": SECRET,
    }

    reactivex.of(b"a").pipe(record(path, headers=headers)).subscribe()

    (recording,) = recordings(path)
    assert recording.headers == headers | {"Set-Cookie": "***", "authorization": "***"}
    assert SECRET.encode() not in path.read_bytes()


def test_the_text_of_a_foreign_error_is_not_kept(path: Path) -> None:
    reactivex.throw(OSError(SECRET)).pipe(record(path)).subscribe(on_error=lambda _: None)

    assert SECRET.encode() not in path.read_bytes()
    assert b"OSError" in path.read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="permissions are a thing of POSIX")
def test_a_new_file_is_for_its_owner(path: Path) -> None:
    reactivex.of(b"a").pipe(record(path)).subscribe()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_subscription_is_added_to_the_file(path: Path) -> None:
    stream = reactivex.of(b"a").pipe(record(path))

    stream.subscribe()
    stream.subscribe()

    assert [recording.items for recording in recordings(path)] == [1, 1]


def test_recordings_may_be_under_way_in_one_file_at_the_same_time(path: Path) -> None:
    faucets = [Faucet[bytes]() for _ in range(2)]
    for faucet in faucets:
        faucet.stream.pipe(record(path)).subscribe()

    for number in range(6):
        faucets[number % 2].push(b"%d" % number)
    for faucet in faucets:
        faucet.complete()

    assert [(one.items, one.outcome) for one in recordings(path)] == [(3, Outcome.COMPLETED)] * 2


@pytest.mark.parametrize("rest", [b"what is no line", b'["00000000",{"type"'])
def test_a_recording_is_added_behind_what_breaks_off(path: Path, rest: bytes) -> None:
    path.write_bytes(rest)

    reactivex.of(b"a").pipe(record(path)).subscribe()

    assert recordings(path)[-1].outcome is Outcome.COMPLETED


def test_a_stream_that_is_let_go_of_says_so(path: Path) -> None:
    faucet = Faucet[bytes]()
    subscription = faucet.stream.pipe(record(path)).subscribe()

    faucet.push(b"a")
    subscription.dispose()
    subscription.dispose()

    assert [type(one) for one in lines(path)] == [Began, Chunk, Ended]
    assert recordings(path)[0].outcome is Outcome.CANCELLED


def test_views_of_memory_are_bytes_too(path: Path) -> None:
    given: list[Any] = []
    items = [bytearray(b"a"), memoryview(b"bc")]

    reactivex.from_iterable(items).pipe(record(path)).subscribe(given.append)

    assert [id(item) for item in given] == [id(item) for item in items]
    assert recordings(path)[0].bytes == 3


@pytest.mark.parametrize("odd", ["text", TextDelta("\ud800"), 7])
def test_what_cannot_be_recorded_ends_the_recording_not_the_stream(
    odd: Any, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = []

    reactivex.of(TextDelta("a"), odd, TextDelta("b")).pipe(record(path)).subscribe(given.append)

    assert given == [TextDelta("a"), odd, TextDelta("b")]
    assert capsys.readouterr().out.count("tap.failed") == 1
    assert recordings(path)[0].items == 1
    assert recordings(path)[0].outcome is None, "it does not say that it is whole"


def test_a_file_that_cannot_be_opened_harms_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given: list[bytes] = []

    reactivex.of(b"a").pipe(record(tmp_path / "no" / "such" / "folder")).subscribe(given.append)

    assert given == [b"a"]
    assert capsys.readouterr().out.count("tap.failed") == 1


@pytest.mark.parametrize("how", ["raises", "writes a part"])
def test_a_disk_that_fails_on_the_way_harms_nobody(
    how: str, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[bytes] = []
    write, left = os.write, iter([1_000, 1_000, 20])

    def failing(file: int, data: bytes) -> int:
        room = next(left, 0)
        if how == "raises" and room < len(data):
            raise OSError(28, "No space left on device")
        return write(file, data[:room])

    monkeypatch.setattr(os, "write", failing)
    reactivex.of(b"a", b"b", b"c").pipe(record(path)).subscribe(given.append)

    assert given == [b"a", b"b", b"c"]
    assert capsys.readouterr().out.count("tap.failed") == 1
    (recording,) = recordings(path)
    assert (recording.items, recording.outcome) == (1, None)


def test_letting_go_from_another_thread_leaves_whole_lines(path: Path) -> None:
    for _ in range(20):
        path.unlink(missing_ok=True)
        faucet = Faucet[bytes]()
        subscription = faucet.stream.pipe(record(path)).subscribe()
        other = threading.Thread(target=subscription.dispose)

        with quick_switches():
            other.start()
            while faucet.disposed == 0:
                faucet.push(b"a")
            other.join()

        records = lines(path)
        assert isinstance(records[-1], Ended)
        assert [one.number for one in records] == list(range(len(records)))


def test_a_stream_that_is_only_forgotten_leaves_no_open_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close, closed = os.close, list[int]()

    def noted(file: int) -> None:
        closed.append(file)
        close(file)

    monkeypatch.setattr(os, "close", noted)
    faucet = Faucet[bytes]()
    faucet.stream.pipe(record(path)).subscribe()
    faucet.push(b"a")

    del faucet
    gc.collect()

    assert len(closed) == 1
    assert recordings(path)[0].outcome is None
