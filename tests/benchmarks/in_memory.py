"""What the machines cost without a socket, in one process: frames, tokens, tokens through Rx, a full pipeline."""

import asyncio
import time
from collections.abc import Callable, Iterator

import reactivex

from rxstream import StreamMetrics, accumulate, buffered, content_filter, decode, tap_metrics
from rxstream.dialects import dialect
from rxstream.framing import SseParser
from tests.benchmarks.bodies import chat
from tests.benchmarks.by_hand import decode_chat
from tests.benchmarks.figures import Table

COUNT = 20_000
CHUNK = 4_096
BY_HAND = "msgspec, hand-written"


def _by_hand(chunks: list[bytes]) -> None:
    size, rest = 0, b""
    for chunk in chunks:
        *events, rest = (rest + chunk).split(b"\n\n")
        for event in events:
            data = event[6:]
            if data == b"[DONE]":
                return
            for choice in decode_chat(data).choices:
                if choice.delta.content:
                    size += len(choice.delta.content)


def _frames(chunks: list[bytes]) -> None:
    parser = SseParser()
    for chunk in chunks:
        parser.feed(chunk)
    parser.flush()


def _tokens(chunks: list[bytes]) -> None:
    reader = dialect("openai.chat").read_body()
    for chunk in chunks:
        reader.feed(chunk)
    reader.flush()


def _operator(chunks: list[bytes]) -> None:
    reactivex.from_iterable(chunks).pipe(decode("openai.chat")).subscribe()


async def _pipeline(chunks: list[bytes]) -> None:
    over = asyncio.Event()
    tokens = reactivex.from_iterable(chunks).pipe(decode("openai.chat"), tap_metrics(StreamMetrics()))
    full = tokens.pipe(content_filter(["gauze"]), accumulate("sentence"), buffered())
    full.subscribe(on_completed=over.set)
    await over.wait()


WAYS: dict[str, Callable[[list[bytes]], None]] = {
    BY_HAND: _by_hand,
    "SseParser": _frames,
    "BodyReader": _tokens,
    "decode()": _operator,
    "full pipeline": lambda chunks: asyncio.run(_pipeline(chunks)),
}


def measure(rounds: int) -> Iterator[Table]:
    """Yield what a token costs each way, the ways in turn, for two sizes of chunks."""
    answer = chat(COUNT)
    cuts = {
        "4 KiB chunks": [answer.body[start : start + CHUNK] for start in range(0, len(answer.body), CHUNK)],
        "one event a chunk": [answer.beginning, *answer.deltas, answer.ending],
    }
    for size, chunks in cuts.items():
        figures: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, run in WAYS.items():
                started = time.process_time()
                run(chunks)
                figures[way].append((time.process_time() - started) / COUNT * 1e6)
        yield Table(f"in memory, {size}", "CPU microseconds a token", BY_HAND, figures)
