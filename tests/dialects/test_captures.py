"""Streams that services really sent, read as they are meant: whole, and cut anywhere.

The recordings lie beside the project, each with what a right reader gets out of it. Those of an API
that has no dialect yet are skipped, and say so.
"""

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
import reactivex

from rxstream.dialect import Dialect
from rxstream.dialects import dialect, dialects
from rxstream.dialects._values import as_text, within
from rxstream.errors import ProviderError, StreamError, TruncatedStreamError
from rxstream.operators.decode import decode, decode_frames
from rxstream.tokens import ReasoningDelta, StreamEnd, StreamToken, ToolCall, ToolCallTruncated, merge_deltas
from tests.dialects.reading import Outcome, cut, in_pieces, line_ends, read, without_ending
from tests.shared import needs_shared, shared_files

SMALL_BYTES = 3_000
"""Up to this size a stream is cut at every offset."""
PREFIX_BUDGET_BYTES = 8_000_000
"""How much is read of a larger one, over all its beginnings."""

CAPTURES = [path for path in shared_files("captures/*/*.json") if path.stem != "vectors"]

pytestmark = needs_shared
each_capture = pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")


class Capture:
    """A recorded body and what is in it."""

    def __init__(self, path: Path) -> None:
        sheet = json.loads(path.read_bytes())
        if sheet["api"] not in dialects():
            pytest.skip(f"there is no dialect {sheet['api']} yet")
        self.wire = path.with_name(sheet["file"]).read_bytes()
        self.dialect: Dialect[Any] = dialect(sheet["api"])
        self.expect: dict[str, Any] = sheet["expect"] | sheet.get("expect_if_tail_flushed", {})
        self.random = random.Random(path.stem)


@each_capture
def test_a_capture_is_read_as_it_is_meant(path: Path) -> None:
    capture = Capture(path)

    outcome = read(capture.dialect, [capture.wire])

    assert facts(outcome, capture.expect) == wanted(capture.expect)


@each_capture
def test_where_a_capture_is_cut_does_not_matter(path: Path) -> None:
    capture = Capture(path)
    whole = read(capture.dialect, [capture.wire])
    small_pieces = in_pieces(capture.wire, 1 if len(capture.wire) <= 50_000 else 7)
    offsets = [capture.random.sample(range(len(capture.wire)), 7) for _ in range(10)]

    for chunks in [small_pieces, *(cut(capture.wire, some) for some in offsets)]:
        outcome = read(capture.dialect, chunks)

        assert outcome.tokens == whole.tokens
        assert outcome.ending == whole.ending
        assert outcome.message == whole.message


@each_capture
def test_the_beginning_of_a_capture_gives_the_beginning_of_its_tokens(path: Path) -> None:
    capture = Capture(path)
    whole = read(capture.dialect, [capture.wire])

    for offset in beginnings(capture):
        outcome = read(capture.dialect, [capture.wire[:offset]])

        tokens = without_ending(outcome.tokens)
        assert tokens == whole.tokens[: len(tokens)], f"the first {offset} bytes"
        if outcome.error is None:
            assert any(isinstance(token, StreamEnd) for token in outcome.tokens), f"the first {offset} bytes"
        elif not isinstance(outcome.error, TruncatedStreamError):
            assert isinstance(whole.error, ProviderError), f"the first {offset} bytes"
            assert outcome.ending == whole.ending, f"the first {offset} bytes"


@each_capture
@pytest.mark.parametrize("by_frames", [False, True], ids=["bytes", "frames"])
def test_a_capture_is_read_the_same_through_the_operators(path: Path, by_frames: bool) -> None:
    capture = Capture(path)
    whole = read(capture.dialect, [capture.wire])
    tokens: list[StreamToken] = []
    errors: list[Exception] = []
    if by_frames:
        parser = capture.dialect.parser()
        frames: list[Any] = parser.feed(capture.wire)
        source = reactivex.from_iterable(frames + parser.flush()).pipe(decode_frames(capture.dialect))
    else:
        source = reactivex.from_iterable(in_pieces(capture.wire, 100)).pipe(decode(capture.dialect.name))

    source.subscribe(tokens.append, errors.append)

    assert tokens == whole.tokens
    assert [str(error) for error in errors] == ([] if whole.error is None else [str(whole.error)])
    assert [error.partial for error in errors if isinstance(error, StreamError)] == (
        [] if whole.error is None else [whole.message]
    )


@each_capture
def test_asking_for_raw_events_changes_no_other_token(path: Path) -> None:
    capture = Capture(path)

    with_raw_events = read(capture.dialect, [capture.wire], raw_events=True)

    others = [token for token in with_raw_events.tokens if type(token).__name__ != "RawEvent"]
    assert others == read(capture.dialect, [capture.wire]).tokens


@each_capture
def test_merging_the_deltas_of_a_capture_leaves_its_message_as_it_is(path: Path) -> None:
    capture = Capture(path)
    whole = read(capture.dialect, [capture.wire])

    merged = merge_deltas(whole.tokens)

    assert facts(Outcome(merged, whole.error, whole.message), capture.expect) == wanted(capture.expect)
    assert len(merged) <= len(whole.tokens)


def beginnings(capture: Capture) -> list[int]:
    """Where to cut a stream off: everywhere, or at the ends of lines and wherever chance says."""
    size = len(capture.wire)
    if size <= SMALL_BYTES:
        return list(range(size))
    count = max(20, PREFIX_BUDGET_BYTES // size)
    near_ends = [end + by for end in line_ends(capture.wire) for by in (-1, 0, 1) if end + by < size]
    some = capture.random.sample(near_ends, min(count, len(near_ends))) if near_ends else []
    return [*some, *capture.random.sample(range(size), min(count // 2, size))]


def wanted(expect: dict[str, Any]) -> dict[str, Any]:
    """What the sheet says, as far as tokens carry it."""
    names = {
        *("text", "reasoning", "refusal", "tool_calls", "finish_reason", "usage", "complete", "error"),
        *("choices", "usage_raw", "citation_count", "signature_count", "redacted_count"),
        *("stop_details", "stop_sequence", "incomplete_reason"),
    }
    return {name: value for name, value in expect.items() if name in names}


def facts(outcome: Outcome, expect: dict[str, Any]) -> dict[str, Any]:
    """The same facts of what was read."""
    message: dict[str, Any] = msgspec.to_builtins(outcome.message)
    reasoning = [token for token in outcome.tokens if isinstance(token, ReasoningDelta)]
    ends = [token for token in outcome.tokens if isinstance(token, StreamEnd)]
    details = (ends[0].details or {}) if ends else {}
    if expect["usage"] is not None and message["usage"] is None:
        message["usage"] = dict.fromkeys(expect["usage"])
    known: dict[str, Any] = {
        **message,
        "citation_count": len(outcome.message.citations),
        "signature_count": sum(token.signature is not None for token in reasoning),
        "redacted_count": sum(token.redacted is not None for token in reasoning),
        "stop_details": details.get("stop_details"),
        "stop_sequence": details.get("stop_sequence"),
        "incomplete_reason": as_text(within(details.get("incomplete_details"), "reason")),
    }
    return {name: known[name] for name in wanted(expect)}


@needs_shared
def test_every_call_of_the_captures_is_given_once() -> None:
    for path in CAPTURES:
        sheet = json.loads(path.read_bytes())
        if sheet["api"] not in dialects():
            continue
        outcome = read(dialect(sheet["api"]), [path.with_name(sheet["file"]).read_bytes()])
        keys = [token.key for token in outcome.tokens if isinstance(token, ToolCall | ToolCallTruncated)]

        assert len(keys) == len(set(keys)) == len(sheet["expect"]["tool_calls"]), path.stem
