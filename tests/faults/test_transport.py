"""Every fault of the transport, at every moment, in every dialect: over real sockets, with the one right outcome.

`RXSTREAM_FAULTS=all` runs the whole matrix; otherwise a spread portion of it.
"""

import tracemalloc
from collections.abc import Callable

import pytest

from rxstream.dialects import dialect, dialects
from rxstream.errors import (
    DeadlineError,
    FirstContentTimeoutError,
    FramingError,
    IdleTimeoutError,
    StreamError,
    TruncatedStreamError,
)
from rxstream.messages import MessageAssembler
from rxstream.simulator import apis
from rxstream.sources import push
from rxstream.tokens import StreamToken
from tests.faults.answers import BOMB
from tests.faults.stage import DEADLINES, KEY, Seen, descriptors, has_begun, perform
from tests.faults.transport import Case, cases, matrix, one_of_each, outcome, portion, summary
from tests.faults.transport_faults import Heard
from tests.loopback import run_movable

GRACE = 15.0
"""Seconds after the last token within which an outcome comes that no deadline has to bring."""


def expected_tokens(case: Case, body: bytes, error: type[StreamError] | None) -> list[StreamToken]:
    """What the machines make, in memory, of the bytes that were sent."""
    if error is None:
        return case.wire.tokens()
    if case.fault.heard in {Heard.NONSENSE, Heard.ONE_VALUE}:
        return []
    reader = dialect(case.wire.api).read_body()
    made = reader.feed(body)
    try:
        return made + (reader.flush() if error is TruncatedStreamError else reader.fail(error("broken")))
    except StreamError as ending:
        return made + ending.completed


def check(case: Case, seen: Seen) -> None:
    """Hold what was seen of `case` against what is right."""
    heard, right = seen.listener, outcome(case)
    assert (type(heard.error) if heard.error else None) is right.error, heard.error
    assert heard.tokens == expected_tokens(case, seen.body, right.error)
    assert heard.signals_after_the_end == 0
    assert seen.requests == right.requests
    assert not any(KEY.encode() in head for head in seen.heads_elsewhere)
    assert seen.next.error is None
    assert seen.next.tokens == case.wire.tokens()
    if isinstance(heard.error, StreamError):
        check_error(case, heard.error, heard.tokens)
    check_time(seen)


def check_error(case: Case, error: StreamError, tokens: list[StreamToken]) -> None:
    """Hold the facts of an error against what came before it."""
    assembler = MessageAssembler()
    assembler.extend(tokens)
    assert error.is_retryable == type(error).is_retryable
    assert error.provider == case.wire.api
    assert error.partial is not None
    assert error.partial.text == assembler.message().text
    assert not error.partial.complete
    assert KEY not in str(error)


def check_time(seen: Seen) -> None:
    """Hold the time that it took against the deadlines."""
    heard = seen.listener
    match heard.error:
        case FirstContentTimeoutError():
            assert DEADLINES.first_content is not None
            assert 0 <= heard.ended_at - heard.subscribed_at - DEADLINES.first_content <= 2
        case IdleTimeoutError():
            assert DEADLINES.idle is not None
            assert 0 <= heard.ended_at - heard.last_token_at - DEADLINES.idle <= 2
        case _:
            assert not isinstance(heard.error, DeadlineError)
            assert heard.ended_at - heard.last_token_at <= GRACE


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
    """Perform a case on the way from the socket that it names."""

    def performed(case: Case, retries: int = 0) -> Seen:
        if not case.condition.is_pushed:
            monkeypatch.setattr(push, "is_open_to_pushing", never)
        return run_movable(lambda loop: perform(case, loop, retries=retries))

    return performed


def never(_: object) -> bool:
    return False


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_fault_has_its_one_outcome(case: Case, run: Callable[..., Seen]) -> None:
    before = descriptors()

    seen = run(case)

    check(case, seen)
    assert descriptors() == before, "a socket was left open"


@pytest.mark.parametrize("case", one_of_each(), ids=str)
def test_what_may_pass_is_asked_again_once_and_only_before_the_first_content(
    case: Case, run: Callable[..., Seen]
) -> None:
    right = outcome(case)
    expected = expected_tokens(case, b"".join(case.wire.cut(case.moment)[0]), right.error)
    is_asked_again = right.error is not None and right.error.is_retryable and not has_begun(expected)

    seen = run(case, retries=1)

    assert seen.requests == right.requests + is_asked_again
    assert (seen.listener.error is None) == (is_asked_again or right.error is None)
    assert seen.listener.tokens == (case.wire.tokens() if seen.listener.error is None else expected)
    assert seen.listener.signals_after_the_end == 0


@pytest.mark.parametrize(
    ("name", "longest_line"), [("bedrock.converse", 0), ("ollama.native", 32 << 20), ("openai.chat", 1 << 20)]
)
def test_a_bomb_is_unpacked_piece_by_piece(name: str, longest_line: int, run: Callable[..., Seen]) -> None:
    [case, *_] = [case for case in portion() if case.wire.name == name and case.fault.name == "gzip bomb"]
    case.fault.steps(case.wire, case.moment)  # the bomb is made, once
    tracemalloc.start()
    try:
        seen = run(case)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert isinstance(seen.listener.error, FramingError)
    assert peak < longest_line + BOMB / 8


def test_the_portion_covers_every_pair_and_the_size_is_shown(record_property: Callable[[str, object], None]) -> None:
    chosen = portion()
    fields = {(case.wire.name, case.fault.name, case.moment) for case in matrix()}

    assert {(case.wire.name, case.fault.name, case.moment) for case in chosen} == fields
    assert len(chosen) == len(fields)
    assert {(case.fault.name, case.condition) for case in chosen} == {
        (case.fault.name, case.condition) for case in matrix()
    }
    assert {(case.moment, case.condition) for case in chosen} == {(case.moment, case.condition) for case in matrix()}
    assert {case.wire.api for case in chosen} == set(dialects()) & set(apis())
    record_property("figure", summary())
