"""Recordings, as streams again and as values to look into.

    recording = recordings("why.rec")[-1]
    tokens = replay("why.rec").pipe(decode(recording.api))

`record` writes them; `rxstream.framing.recording` describes the file.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from contextlib import aclosing, closing, contextmanager
from datetime import datetime
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace
from reactivex import Observable

from rxstream.errors import ConfigurationError, FramingError, StreamError
from rxstream.framing.recording import Began, Chunk, Ended, Record, RecordingReader, Token, read_record
from rxstream.sources.async_iterable import each
from rxstream.sources.pump import BREATH, Pump, pumped
from rxstream.tokens import Outcome, StreamStart

MAX_LINE_BYTES = 64 * 1024 * 1024
"""More bytes than any record should have; what is longer is no record."""


class Recording(Struct, frozen=True, kw_only=True):
    """What a file tells of one recording; `None` is what it does not tell."""

    id: str | None = None
    """`None` where nothing of it but damage is left."""
    api: str | None = None
    """The dialect that `decode` needs, such as `openai.chat`."""
    model: str | None = None
    date: datetime | None = None
    """When it began."""
    headers: dict[str, str] = {}
    """Of the answer; values that may be secret are `***`."""
    holds: Literal["chunks", "tokens"] | None = None
    """`None` where nothing came."""
    items: int = 0
    """Chunks, or tokens of the stream."""
    bytes: int = 0
    """In all chunks."""
    seconds: float = 0.0
    """From subscribe to the last that is recorded."""
    outcome: Outcome | None = None
    """`None` of a recording that breaks off or is damaged."""
    error: StreamError | None = None
    """What a replay ends in; `None` if it completes."""


def recordings(path: str | os.PathLike[str]) -> list[Recording]:
    """Read what the file `path` holds, in the order in which the recordings began; off the loop, please.

    One that is damaged or breaks off is there as far as it is good. Raises `ConfigurationError`
    if there is no such file, and `FramingError` if it is none of recordings.
    """
    return [found.recording for found in _find_all(path)]


def replay(
    path: str | os.PathLike[str], *, speed: float | None = 1.0, cut: int | None = None, which: int = -1
) -> Observable[Any]:
    """Return what was recorded in the file `path`, the bytes or the tokens, at the times at which it came.

    With a `speed` of 2 everything comes twice as fast; with `None` as fast as the consumer
    wants it. What fell due while the consumer made the stream wait comes at once when it goes
    on, as it would from a socket. `cut` gives the bytes in pieces of so many, and what is
    left over before the end, wherever they were cut when they came. `which` is the place of
    the recording in the file, as in `recordings`: the last one by default.

    It ends as the stream did: an error is raised again, of the same class, with the same facts,
    words and partial message; its cause is not. One that was no `StreamError` is the
    `TransportError` that decoders make of it. Where the recording breaks off, or its consumer
    had let go of the stream, it ends in a `TruncatedStreamError`; where it is damaged in
    a `FramingError`; both after all that came before. Cold: each subscription reads the file.
    Raises `ConfigurationError` for a speed that is not above 0, or a cut below 1.
    """
    if speed is not None and not speed > 0:
        raise ConfigurationError(f"the speed must be more than 0, or None, not {speed}")
    if cut is not None and cut < 1:
        raise ConfigurationError(f"bytes are cut into pieces of at least 1, not {cut}")

    async def records() -> AsyncGenerator[Record]:
        with closing(await asyncio.to_thread(records_of, path, which)) as found:
            for record in found:
                yield record

    return played(records, speed=speed, cut=cut)


def played(
    records: Callable[[], AsyncIterable[Record] | Iterable[Record]], *, speed: float | None, cut: int | None
) -> Observable[Any]:
    """Return what the records that `records` gives hold; what they raise ends the stream. See `replay`."""
    pace = 0.0 if speed is None else 1 / speed

    async def read(pump: Pump[Any]) -> None:
        loop = pump.loop
        began = breathed = loop.time()
        async with aclosing(_recut(each(records()), cut)) as due:
            async for record in due:
                if isinstance(record, Began):
                    began = loop.time()
                    continue
                wait = began + record.at * pace - loop.time() if pace else 0.0
                if wait > 0 or loop.time() - breathed > BREATH:
                    await asyncio.sleep(max(wait, 0.0))
                    breathed = loop.time()
                if isinstance(record, Ended):
                    if (error := record.error) is not None:
                        raise error
                    return
                if not await pump.is_wanted():
                    return
                await pump.give(record.data if isinstance(record, Chunk) else record.token)

    return pumped(read)


async def _recut(records: AsyncGenerator[Record], size: int | None) -> AsyncGenerator[Record]:
    """Cut the bytes of records into pieces of `size`; each comes when its last byte did, the rest before any end."""
    held, at = bytearray(), 0.0

    def piece(end: int, start: int = 0) -> Chunk:
        return Chunk("", 0, at, None, bytes(held[start:end]))

    async with aclosing(records):
        try:
            async for record in records:
                if isinstance(record, Chunk) and size is not None:
                    held += record.data
                    at = record.at
                    whole = len(held) - len(held) % size
                    for start in range(0, whole, size):
                        yield piece(start + size, start)
                    del held[:whole]
                    continue
                if isinstance(record, Token) and size is not None:
                    raise ConfigurationError("only bytes can be cut: this is a recording of tokens")
                if isinstance(record, Ended) and held:
                    yield piece(len(held))
                yield record
        except StreamError:
            if held:
                yield piece(len(held))
            raise


def records_of(path: str | os.PathLike[str], which: int = -1) -> Generator[Record]:
    """Find a recording; return what gives its records, as far as they are good, and raises what is wrong then.

    Raises as `recordings`, and `ConfigurationError` if there is no such one.
    """
    found = _find_all(path)
    try:
        chosen = found[which]
    except IndexError as error:
        raise ConfigurationError(
            f"there are {len(found)} recordings in {_named(path)}, and no number {which}"
        ) from error
    return chosen.records(path)


class _Found:
    """One recording of a file, looked through."""

    def __init__(self, id: str | None, place: tuple[int, int]) -> None:
        self._place = place  # the offset of its first line, and that line's number
        self._reader = RecordingReader(id or "")
        self._seen = Recording(id=id)
        self._error: StreamError | None = None
        self.has_ended = False
        """Whether its last record was seen, although others may be missing."""

    @property
    def is_known(self) -> bool:
        """Whether there is more of it than damage."""
        return self._seen.id is not None

    @property
    def recording(self) -> Recording:
        """What was seen of it."""
        error = self._error
        try:
            self._reader.flush()
        except StreamError as unfinished:
            error = error or unfinished
        return self._seen if error is None else replace(self._seen, error=error)

    def note_damage(self, line: int) -> None:
        """Take note of a line that may have been one of its own."""
        self._reader.note_damage(line)

    def take(self, record: Record) -> None:
        """Look at one of its records; those after a missing one are not its any more."""
        self.has_ended |= isinstance(record, Ended)
        if self._error is not None:
            return
        try:
            self._reader.feed(record)
        except StreamError as error:
            self._error = error
        else:
            self._seen = _with(self._seen, record)

    def records(self, path: str | os.PathLike[str]) -> Generator[Record]:
        """Read it again; raise what is wrong with it after all that is good."""
        reader = RecordingReader(self._reader.id)
        for _, number, record in _read(path, self._place):
            if record is None:
                reader.note_damage(number)
            else:
                yield from reader.feed(record)
                if reader.has_ended:
                    return
        reader.flush()


def _with(seen: Recording, record: Record) -> Recording:
    """`seen` and one record more."""
    match record:
        case Began():
            return replace(seen, api=record.api, model=record.model, date=record.date, headers=record.headers)
        case Chunk():
            size = seen.bytes + len(record.data)
            return replace(seen, seconds=record.at, holds="chunks", items=seen.items + 1, bytes=size)
        case Token(token=StreamStart() as start):
            named = replace(seen, api=seen.api or start.provider, model=seen.model or start.model)
            return replace(named, seconds=record.at, holds="tokens", items=seen.items + 1)
        case Token():
            return replace(seen, seconds=record.at, holds="tokens", items=seen.items + 1)
        case Ended():
            return replace(seen, seconds=record.at, outcome=Outcome(record.how), error=record.error)


def _find_all(path: str | os.PathLike[str]) -> list[_Found]:
    """Look through a file. A line that is no record belongs to a recording that has not ended, if there is one."""
    found: list[_Found] = []
    by_id: dict[str, _Found] = {}
    for offset, number, record in _read(path):
        if record is None:
            running = [one for one in by_id.values() if not one.has_ended]
            if not running and (not found or found[-1].is_known):
                running = [_Found(None, (offset, number))]
                found += running
            for one in running:
                one.note_damage(number)
        else:
            if isinstance(record, Began) or record.id not in by_id:
                if found and not found[-1].is_known and not isinstance(record, Began):
                    found.pop()  # the damage was its beginning
                by_id[record.id] = _Found(record.id, (offset, number))
                found.append(by_id[record.id])
            by_id[record.id].take(record)
    if not any(one.is_known for one in found):
        raise FramingError(f"{_named(path)} holds no recording, or none that is whole enough to read")
    return found


def _read(path: str | os.PathLike[str], start: tuple[int, int] = (0, 1)) -> Generator[tuple[int, int, Record | None]]:
    """Give where each line begins, its number, and its record, `None` if it is none."""
    offset, first = start
    with _opened(path) as file:
        file.seek(offset)
        for number, line in enumerate(iter(partial(file.readline, MAX_LINE_BYTES), b""), first):
            try:
                yield offset, number, read_record(line)
            except FramingError:  # said by whoever knows whose line it is
                yield offset, number, None
            offset += len(line)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Generator[BufferedReader]:
    try:
        with Path(path).open("rb") as file:
            yield file
    except OSError as error:
        raise ConfigurationError(f"cannot read {_named(path)}: {error.strerror}") from error


def _named(path: str | os.PathLike[str]) -> str:
    return Path(path).name
