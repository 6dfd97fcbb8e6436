"""Faults as changes to the steps of a reply, without a server."""

from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.errors import ProtocolError, ProviderError, TruncatedStreamError
from rxstream.simulator import (
    FLOOD,
    At,
    Disconnect,
    EarlyEnd,
    ErrorEvent,
    Fault,
    Garbage,
    HttpError,
    KeepAlives,
    NoEndMark,
    Script,
    Stall,
    Writes,
    body,
    chunks,
)
from rxstream.simulator.faults import interrupted
from rxstream.simulator.steps import Step, Wait, Write
from tests.simulator.clients import APIS, read_message

TEXT = "Un café à 東京, s'il vous plaît 🙂 and more"
each_api = pytest.mark.parametrize("api", [*APIS, "gemini.generate", "ollama.native"])

bodies: st.SearchStrategy[list[Step]] = st.lists(
    st.builds(Write, st.binary(min_size=1, max_size=12), st.integers(0, 1), st.just(1)) | st.just(Wait(1)), max_size=8
)
places = (
    st.builds(At, tokens=st.none() | st.integers(0, 5), bytes=st.integers(0, 30))
    | st.builds(At, events=st.integers(0, 9), inside=st.sampled_from([None, "event", "character"]))
    | st.just(At(end=True))
    | st.builds(At, head=st.integers(0, 30))
)


def mark(rest: Iterator[Step]) -> Iterator[Step]:
    yield Wait(None)
    yield from rest


@given(bodies, places)
def test_a_fault_happens_once_and_moves_no_byte(steps: list[Step], at: At) -> None:
    made = list(interrupted(steps, at, mark))

    assert made.count(Wait(None)) == 1
    assert joined(made) == joined(steps)
    assert sum_of(made, lambda write: write.tokens) == sum_of(steps, lambda write: write.tokens)
    assert sum_of(made, lambda write: write.events) == sum_of(steps, lambda write: write.events)


@given(bodies, st.integers(0, 100))
def test_a_fault_after_some_bytes_happens_after_exactly_those(steps: list[Step], count: int) -> None:
    made = list(interrupted(steps, At(bytes=count), mark))

    assert joined(made[: made.index(Wait(None))]) == joined(steps)[:count]


@given(bodies, st.integers(0, 8))
def test_a_fault_after_some_tokens_happens_after_exactly_those(steps: list[Step], count: int) -> None:
    made = list(interrupted(steps, At(tokens=count), mark))

    before = made[: made.index(Wait(None))]
    total = sum_of(steps, lambda write: write.tokens)
    assert sum_of(before, lambda write: write.tokens) == min(count, total)


def joined(steps: list[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Write))


def sum_of(steps: list[Step], count: Callable[[Write], int]) -> int:
    return sum(count(step) for step in steps if isinstance(step, Write))


@each_api
@pytest.mark.parametrize("fault", [EarlyEnd(at=At(tokens=3)), Disconnect(at=At(tokens=3)), Stall(at=At(tokens=3))])
def test_after_three_tokens_three_tokens_have_come(api: str, fault: Fault) -> None:
    with pytest.raises(TruncatedStreamError) as raised:
        read_message(api, body(api, Script(deltas=("a", "b", "c", "d"), faults=(fault,))))

    assert raised.value.partial is not None
    assert raised.value.partial.text == "abc"


@each_api
def test_inside_an_event_its_beginning_has_come(api: str) -> None:
    whole = body(api, Script(text=TEXT))

    broken = body(api, Script(text=TEXT, faults=(Disconnect(at=At(tokens=2, inside="event")),)))

    assert whole.startswith(broken)
    assert not broken.endswith(b"\n\n")


@each_api
def test_inside_a_character_the_bytes_are_no_text(api: str) -> None:
    broken = body(api, Script(text=TEXT, faults=(EarlyEnd(at=At(inside="character")),)))

    assert body(api, Script(text=TEXT)).startswith(broken)
    with pytest.raises(UnicodeDecodeError):
        broken.decode()


@each_api
def test_without_its_end_mark_the_rest_of_the_body_is_whole(api: str) -> None:
    whole, ended = body(api, Script(text=TEXT)), body(api, Script(text=TEXT, faults=(NoEndMark(),)))

    assert whole.startswith(ended)
    missing = whole.removeprefix(ended)
    assert b"\n\n" not in missing.replace(b"\r", b"").removesuffix(b"\n\n")  # one event, one line
    marks = (b"[DONE]", b"message_stop", b"response.completed", b"finishReason", b'"done":true')
    assert any(mark in missing for mark in marks)


@each_api
def test_an_error_event_says_what_it_is_told_and_ends_the_body(api: str) -> None:
    fault = ErrorEvent(at=At(tokens=2), message="out of ink", kind="overloaded_error")

    with pytest.raises(ProviderError, match="out of ink") as raised:
        read_message(api, body(api, Script(deltas=("a", "b", "c"), faults=(fault,))))

    assert raised.value.kind == (None if api == "ollama.native" else "overloaded_error")  # it has text alone
    assert raised.value.partial is not None
    assert raised.value.partial.text == "ab"


@each_api
def test_garbage_of_the_service_cannot_be_read(api: str) -> None:
    with pytest.raises(ProtocolError):
        read_message(api, body(api, Script(text=TEXT, faults=(Garbage(at=At(tokens=1)),))))


@each_api
def test_any_bytes_may_be_the_garbage(api: str) -> None:
    whole = body(api, Script(text=TEXT))

    spoilt = body(api, Script(text=TEXT, faults=(Garbage(at=At(bytes=10), data=b"\0\xff"),)))

    assert spoilt == whole[:10] + b"\0\xff" + whole[10:]


@each_api
def test_a_number_of_keep_alives_changes_nothing_that_is_said(api: str) -> None:
    fault = KeepAlives(at=At(tokens=1), count=3)

    spoilt = body(api, Script(text=TEXT, faults=(fault,)))

    assert len(spoilt) > len(body(api, Script(text=TEXT)))
    assert read_message(api, spoilt).text == TEXT


@each_api
def test_keep_alives_without_a_number_never_end(api: str) -> None:
    script = Script(text=TEXT, faults=(KeepAlives(),))

    pings = list(islice(chunks(api, script), 1_000))

    assert len(set(pings)) == 1
    with pytest.raises(ValueError, match="never ends"):
        body(api, script)


@each_api
def test_several_faults_befall_one_reply_in_order(api: str) -> None:
    whole = body(api, Script(text=TEXT))
    faults = (Garbage(at=At(bytes=5), data=b"!"), Disconnect(at=At(bytes=8)))

    assert body(api, Script(text=TEXT, faults=faults)) == whole[:5] + b"!" + whole[5:7]


@each_api
@pytest.mark.parametrize("writes", [Writes(every=1), Writes(every=7, seed=3), FLOOD])
def test_a_fault_falls_on_the_same_byte_however_the_body_is_cut(api: str, writes: Writes) -> None:
    script = Script(text=TEXT, faults=(Garbage(at=At(tokens=2)), Disconnect(at=At(tokens=4, inside="event"))))

    assert b"".join(chunks(api, script, writes=writes)) == body(api, script)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": 1, "events": 1},
        {"head": 1, "bytes": 1},
        {"end": True, "inside": "event"},
        {"bytes": 1, "inside": "event"},
        {"tokens": -1},
        {"bytes": -1},
    ],
    ids=str,
)
def test_a_place_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="place"):
        At(**wrong)  # type: ignore[arg-type]  # whatever JSON may hold


def test_an_error_with_the_status_of_success_is_refused() -> None:
    with pytest.raises(ValueError, match="200"):
        HttpError(status=200)


def test_a_header_that_would_smuggle_in_another_is_refused() -> None:
    with pytest.raises(ValueError, match="line ends"):
        HttpError(headers={"x": "1\r\ny: 2"})
