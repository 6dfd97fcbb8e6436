"""What a stream gave, and when, kept in a file.

    provider.chunks("Why?", model="gpt-5").pipe(record("why.rec", api="openai.chat"), decode("openai.chat"))

`replay` gives it again. `rxstream.framing.recording` describes the file.
"""

import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar, cast, get_args

from reactivex import Observable, abc

from rxstream.framing.recording import VERSION, Began, Chunk, Ended, Failure, How, Record, Token, write_record
from rxstream.taps._tapped import tapped
from rxstream.tokens import StreamToken

T = TypeVar("T")

KEPT_HEADERS = frozenset({"content-type", "date", "request-id", "retry-after", "x-request-id"})
"""Headers of an answer whose values a recording keeps, and those with `ratelimit` in their name."""
REDACTED = "***"

_TOKENS = frozenset(get_args(StreamToken))


def record(
    path: str | os.PathLike[str],
    *,
    api: str | None = None,
    model: str | None = None,
    headers: Mapping[str, str] | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> Callable[[Observable[T]], Observable[T]]:
    """Append what passes, bytes or tokens, to the file `path`, each with its time; pass it on untouched.

    Each subscription is a recording of its own, added after those that the file holds; they
    may be under way at the same time. `api` (such as `openai.chat`) and `model` are for
    whoever reads it. A new file is readable by its owner alone.

    Kept are the items, their times, and how the stream ended: an error with its facts and
    with what had arrived. The request is not, nor its headers. Of `headers`, those of the
    answer, the names are kept, and the values of `KEPT_HEADERS`; others are `***`. What the
    service sent is kept as it is: if that may hold secrets, record after `redact`. Bytes are
    kept even where a service quotes in them what it was sent; in tokens and errors that is masked.

    Each record is written before its item goes on, by one call that does not wait for the
    disk: a crash of the process loses nothing that was given on, one of the machine what the
    system had not yet brought to the disk, often half a minute. On a file system that hangs,
    the stream hangs. A file that cannot be written, or an item that is neither bytes nor a
    token, is logged once and ends the recording, not the stream. `now` is in seconds.
    """
    kept = {name: value if _is_kept(name) else REDACTED for name, value in (headers or {}).items()}

    def begin(_scheduler: abc.SchedulerBase | None) -> _Recorder:
        return _Recorder(_opened(path), partial(Began, api=api, model=model, headers=kept), now)

    return lambda source: tapped(source, begin)


class _Recorder:
    """One subscription, recorded."""

    def __init__(self, file: int, begin: Callable[..., Began], now: Callable[[], float]) -> None:
        self._file = file
        self._close = weakref.finalize(self, os.close, file)  # a stream may also just be forgotten
        self._now, self._began = now, now()
        self._id = secrets.token_hex(4)
        self._number = 0
        self._lock = threading.Lock()  # a consumer may let go, from its own thread, while an item is written
        self._write(partial(begin, version=VERSION, date=datetime.now(UTC)))

    def on_item(self, item: object) -> None:
        if type(item) in _TOKENS:
            self._write(partial(Token, token=cast(StreamToken, item)))
        elif isinstance(item, bytes | bytearray | memoryview):
            self._write(partial(Chunk.of, data=bytes(cast(bytes, item))))
        else:
            self._write(_refuse)

    def on_failed(self, error: Exception) -> None:
        self._end("failed", Failure.of(error))

    def on_completed(self) -> None:
        self._end("completed")

    def on_cancelled(self) -> None:
        self._end("cancelled")

    def _end(self, how: How, failure: Failure | None = None) -> None:
        self._write(partial(Ended, how=how, failure=failure), is_last=True)

    def _write(self, make: Callable[[str, int, float], Record], *, is_last: bool = False) -> None:
        """Append one record; after the last one, or one that could not be written, there are no more."""
        with self._lock:
            if not self._close.alive:
                return
            try:
                line = write_record(make(self._id, self._number, round(self._now() - self._began, 6)))
                if os.write(self._file, line) != len(line):
                    raise OSError("a record was written only in part")
            except Exception:
                self._close()
                raise
            self._number += 1
            if is_last:
                self._close()


def _opened(path: str | os.PathLike[str]) -> int:
    """The file, to be appended to; if it breaks off in the middle of a line, that line is ended first."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if os.fstat(file).st_size:
            os.lseek(file, -1, os.SEEK_END)
            if os.read(file, 1) != b"\n":
                os.write(file, b"\n")
    except OSError:
        os.close(file)
        raise
    return file


def _refuse(*_: object) -> Record:
    raise TypeError("what passes is neither bytes nor a token")


def _is_kept(name: str) -> bool:
    return name.lower() in KEPT_HEADERS or "ratelimit" in name.lower()
