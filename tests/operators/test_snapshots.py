"""`snapshots`: what each one says, and that none ever says anything else."""

import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.flow import Overflow
from rxstream.messages import AssembledMessage, MessageAssembler
from rxstream.operators import MessageSnapshot, Snapshotter, buffered, snapshots
from rxstream.tokens import (
    FinishReason,
    FunctionCall,
    ReasoningDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
)
from tests.demand import Consumer, Faucet, quick_switches
from tests.strategies import token_lists


def taken(tokens: list[StreamToken]) -> list[MessageSnapshot]:
    machine = Snapshotter()
    made = [made for token in tokens for made in machine.feed(token)]
    return made + machine.flush()


def assembled(tokens: list[StreamToken]) -> AssembledMessage:
    assembler = MessageAssembler()
    assembler.extend(tokens)
    return assembler.message()


def text_of(snapshot: MessageSnapshot) -> str:
    return snapshot.text


@given(token_lists, st.data())
def test_a_snapshot_is_the_message_as_it_was_whenever_it_is_read(
    tokens: list[StreamToken], data: st.DataObject
) -> None:
    made = taken(tokens)
    order = data.draw(st.lists(st.sampled_from(range(len(made))))) if made else []

    for place in [*order, *range(len(made))]:
        assert made[place].message == assembled(tokens[: place + 1])
        assert made[place].latest == tokens[place]


def test_a_snapshot_read_while_the_stream_goes_on_does_not_change() -> None:
    machine = Snapshotter()
    (first,) = machine.feed(TextDelta("one"))
    before = first.message
    (second,) = machine.feed(TextDelta(" two"))

    assert second.text == "one two"
    assert first.text == "one"
    assert first.message == before


def test_it_shows_text_thinking_and_calls() -> None:
    call = ToolCall("call-0", "1", FunctionCall("add", "[1]"), "[1]")
    made = taken(
        [
            ReasoningDelta("hm"),
            TextDelta("Yes"),
            ToolCallStart("call-0", "1", "add"),
            ToolCallDelta("call-0", "[1"),
            call,
            StreamEnd(FinishReason.TOOL_CALLS),
        ]
    )

    assert (made[-1].text, made[-1].reasoning, made[-1].message.complete) == ("Yes", "hm", True)
    assert (made[3].tool_calls[0].arguments, made[3].tool_calls[0].arguments_raw) == (None, "[1")
    assert made[4].tool_calls[0].arguments == [1]
    assert not made[4].message.complete


def test_what_costs_is_to_read_and_not_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(MessageAssembler):
        fed = 0

        def extend(self, tokens: Any) -> None:
            tokens = list(tokens)
            Counting.fed += len(tokens)
            super().extend(tokens)

    module = importlib.import_module("rxstream.operators.snapshots")
    monkeypatch.setattr(module, "MessageAssembler", Counting)

    made = taken([TextDelta("word ")] * 10_000)
    assert Counting.fed == 0
    for snapshot in made[::100]:
        assert snapshot.text

    assert Counting.fed == made[::100][-1].length


def test_equal_tokens_make_equal_snapshots() -> None:
    one, same, other = taken([TextDelta("a")]), taken([TextDelta("a")]), taken([TextDelta("b"), TextDelta("c")])

    assert one == same
    assert one[0] != other[0]
    assert other[0] != other[1]
    assert one[0] != "a"
    assert repr(one[0]) == f"<MessageSnapshot after 1 tokens: {one[0].message!r}>"
    with pytest.raises(TypeError, match="unhashable"):
        hash(one[0])


def test_threads_may_read_at_once() -> None:
    for _ in range(5):
        made = taken([TextDelta("word ")] * 300)

        with quick_switches(), ThreadPoolExecutor(4) as pool:
            texts = list(pool.map(text_of, made))

        assert texts == ["word " * count for count in range(1, 301)]


def test_a_slow_reader_gets_the_latest() -> None:
    faucet = Faucet[StreamToken]()
    consumer = Consumer(faucet.stream.pipe(snapshots(), buffered(1, overflow=Overflow.LATEST)), wants=False)

    faucet.push(TextDelta("a"), TextDelta("b"), TextDelta("c"))
    consumer.open()

    assert [snapshot.text for snapshot in consumer.heard] == ["abc"]
