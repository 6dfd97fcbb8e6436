"""What the machines cost without a socket, in one process: frames, tokens, tokens through Rx."""

import time
from collections.abc import Callable

import reactivex

from rxstream import decode
from rxstream.dialects import dialect
from rxstream.framing import SseParser
from tests.benchmarks.bodies import chat_events

COUNT = 20_000
CHUNK = 4_096


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


WAYS: dict[str, Callable[[list[bytes]], None]] = {
    "SseParser": _frames,
    "BodyReader": _tokens,
    "decode()": _operator,
}


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the microseconds a token of each way in each round, the ways in turn, by size of the chunks."""
    events = chat_events(COUNT)
    body = b"".join(events)
    cuts = {
        "4 KiB chunks": [body[start : start + CHUNK] for start in range(0, len(body), CHUNK)],
        "one event a chunk": events,
    }
    figures: dict[str, dict[str, list[float]]] = {size: {way: [] for way in WAYS} for size in cuts}
    for _ in range(rounds):
        for size, chunks in cuts.items():
            for way, run in WAYS.items():
                started = time.process_time()
                run(chunks)
                figures[size][way].append((time.process_time() - started) / COUNT * 1e6)
    return figures
