"""Steps: paced, regrouped, and with HTTP around them."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.simulator.steps import FAST, Close, Speed, Step, Wait, Write, Writes, framed, grouped, head, paced
from tests.simulator.clients import unchunked

writes = st.lists(st.binary(max_size=20).map(Write), max_size=8)
waits = st.sampled_from([0.0, 1.0]).map(Wait)
steps: st.SearchStrategy[list[Step]] = st.lists(st.binary(max_size=20).map(Write) | waits, max_size=10)
cuts = st.builds(Writes, every=st.none() | st.integers(1, 30)) | st.builds(
    Writes, every=st.integers(1, 30), seed=st.integers(0, 9), pause=st.sampled_from([0.0, 0.5])
)


def data_of(steps: Iterable[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Write))


@given(steps, cuts)
def test_cutting_a_body_into_other_writes_leaves_its_bytes_as_they_are(steps: list[Step], cut: Writes) -> None:
    assert data_of(grouped(steps, cut)) == data_of(steps)


@given(steps, st.integers(1, 30))
def test_every_write_but_the_last_has_the_size_asked_for(steps: list[Step], every: int) -> None:
    sizes = [len(step.data) for step in grouped(steps, Writes(every=every)) if isinstance(step, Write)]

    assert all(size == every for size in sizes[:-1])
    assert all(0 < size <= every for size in sizes)


@given(steps, st.integers(1, 30), st.integers(0, 9))
def test_random_sizes_are_the_same_for_the_same_seed(steps: list[Step], every: int, seed: int) -> None:
    cut = Writes(every=every, seed=seed)

    made = list(grouped(steps, cut))

    assert made == list(grouped(steps, cut))
    assert all(len(step.data) <= every for step in made if isinstance(step, Write))


@pytest.mark.parametrize("ending", [Wait(None), Close()])
def test_bytes_are_not_held_back_before_an_endless_stall_or_the_end_of_the_connection(ending: Step) -> None:
    made = list(grouped([Write(b"abc"), Wait(1), ending], Writes(every=10)))

    assert made == [Wait(1), Write(b"abc"), ending]


def test_a_write_is_made_as_soon_as_it_is_full() -> None:
    made = list(grouped([Write(b"abc"), Wait(1), Write(b"de")], Writes(every=3)))

    assert made == [Write(b"abc"), Wait(1), Write(b"de")]


def test_a_pause_comes_between_writes() -> None:
    made = list(grouped([Write(b"abc")], Writes(every=1, pause=0.5)))

    assert made == [Write(b"a"), Wait(0.5), Write(b"b"), Wait(0.5), Write(b"c")]


def test_only_the_tokens_of_the_model_take_time() -> None:
    event, token = Write(b"event"), Write(b"token", tokens=1)

    made = list(paced([event, token, event, token], Speed(tokens_per_second=4, first_token_after=2)))

    assert made == [event, Wait(2), token, event, Wait(0.25), token]


@given(writes)
def test_no_speed_is_no_waiting(writes: list[Write]) -> None:
    assert list(paced(writes, FAST)) == writes


@given(steps)
def test_chunks_hold_the_body_and_nothing_else(steps: list[Step]) -> None:
    wire = data_of(framed(steps, 200, {"transfer-encoding": "chunked"}, "chunked"))

    assert unchunked(wire) == (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked", data_of(steps), True)


@given(steps)
def test_a_body_that_ends_with_the_connection_is_sent_as_it_is(steps: list[Step]) -> None:
    wire = data_of(framed(steps, 200, {}, "close"))

    assert wire == b"HTTP/1.1 200 OK\r\n\r\n" + data_of(steps)


def test_nothing_follows_a_broken_connection() -> None:
    made = list(framed([Write(b"abc"), Close(), Write(b"def")], 200, {}, "chunked"))

    assert made[1:] == [Write(b"3\r\nabc\r\n"), Close()]


def test_a_header_cannot_smuggle_in_another() -> None:
    with pytest.raises(ValueError, match="line ends"):
        head(200, {"x": "1\r\ny: 2"})


@pytest.mark.parametrize(
    "wrong", [{"every": 0}, {"seed": 1}, {"pause": -1.0}], ids=["no bytes", "a seed alone", "a pause before"]
)
def test_writes_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"write|seed|pause"):
        Writes(**wrong)


def test_a_negative_speed_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        Speed(tokens_per_second=-1)
