"""The content half of the fault matrix: whatever the bytes say, a stream gives tokens or one `StreamError`.

For every case: what came before the fault is delivered, what comes out keeps the laws of every stream, where the
bytes are cut changes nothing, and what is held stays bounded. The matrix is in `content.py`; a portion of it runs,
and all of it with `RXSTREAM_FAULTS=all` in the environment.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from rxstream.errors import FramingError, StreamError
from rxstream.sources import HttpStreamHandler
from rxstream.tokens import StreamToken
from tests.dialects.laws import assert_same, hold_together
from tests.dialects.reading import Outcome, read
from tests.faults.bodies import RICHEST, Body
from tests.faults.content import PIECE, Case, cases_of, portion_of
from tests.faults.weight import held_bytes
from tests.loopback import turns

LIMIT = 40 << 20
"""The largest thing that any dialect admits, a line with images, and what a growing buffer keeps free; in bytes."""

each_body = pytest.mark.parametrize(
    "body",
    RICHEST,
    ids=[f"{body.dialect.name}: {len(portion_of(body))} of {len(cases_of(body))} cases" for body in RICHEST],
)


@each_body
def test_whatever_a_body_says_it_gives_tokens_or_one_error(body: Body) -> None:
    for case in portion_of(body):
        outcome = read(body.dialect, case.chunks())

        hold_together(outcome)
        assert_as_expected(case, outcome)


@each_body
def test_where_a_bad_body_is_cut_changes_nothing(body: Body) -> None:
    for case in portion_of(body):
        whole = [b"".join(case.chunks())] if case.fault.error is None else case.chunks()
        size = PIECE if case.fault.is_large else 5

        assert_same(read(body.dialect, in_pieces(whole, size)), read(body.dialect, case.chunks()), case.name)


@each_body
def test_noise_in_one_chunk_with_the_end_mark_takes_nothing_from_the_answer(body: Body) -> None:
    noise = b"x" * LIMIT

    outcome = read(body.dialect, [b"".join(body.events) + noise])

    if body.has_end_mark:
        assert_same(outcome, body.healthy)
    else:
        assert type(outcome.error) is FramingError


@each_body
def test_what_is_held_of_a_large_body_stays_bounded(body: Body) -> None:
    for case in portion_of(body):
        if not case.fault.is_large:
            continue
        reader = body.dialect.read_body()
        heaviest = 0

        try:
            for piece in in_pieces(case.chunks(), PIECE):
                reader.feed(piece)
                heaviest = max(heaviest, held_bytes(reader))
        except StreamError as error:
            heaviest = max(heaviest, held_bytes(error.completed))

        assert heaviest < LIMIT, case.name


@each_body
async def test_a_stream_of_it_ends_once_and_says_nothing_after(body: Body) -> None:
    handler = HttpStreamHandler(body.dialect)
    for case in portion_of(body)[::5]:
        heard: list[StreamToken | Exception | None] = []
        is_over = asyncio.Event()

        def end(error: Exception | None = None, heard: Any = heard, is_over: asyncio.Event = is_over) -> None:
            heard.append(error)
            is_over.set()

        handler.into_stream(in_pieces(case.chunks(), PIECE)).subscribe(heard.append, end, end)
        await is_over.wait()
        await turns()

        expected = read(body.dialect, case.chunks())
        *tokens, ending = heard
        assert tokens == expected.tokens, case.name
        assert type(ending) is type(expected.error), case.name


def assert_as_expected(case: Case, outcome: Outcome) -> None:
    """Assert that what came before the fault was delivered, and that it ends as it must where there is a must."""
    before = case.body.given[case.events_before]
    healthy = case.body.healthy
    assert outcome.tokens[: len(before)] == before, case.name
    if case.fault.is_harmless or (case.events_before == len(case.body.events) and case.body.has_end_mark):
        assert_same(outcome, healthy, case.name)
    elif case.fault.error is not None:
        assert type(outcome.error) is case.fault.error, case.name


def in_pieces(chunks: Iterable[bytes], size: int) -> Iterable[bytes]:
    """Return `chunks` in pieces of at most `size` bytes."""
    return (chunk[start : start + size] for chunk in chunks for start in range(0, len(chunk), size))
