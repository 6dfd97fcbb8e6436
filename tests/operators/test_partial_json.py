"""`partial_json`: the growing value of an answer and of each call's arguments."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.operators import PartialJson, PartialJsonReader, partial_json
from rxstream.tokens import (
    FunctionCall,
    Json,
    ReasoningDelta,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
)
from tests.demand import Consumer, Faucet
from tests.strategies import json_objects

cuts = st.lists(st.integers(0, 80), max_size=30)


def read(*tokens: StreamToken, tool: str | None = None) -> list[PartialJson]:
    machine = PartialJsonReader(tool=tool)
    made = [made for token in tokens for made in machine.feed(token)]
    return made + machine.flush()


def deltas(text: str, cuts: list[int] | None = None) -> list[StreamToken]:
    places = range(len(text)) if cuts is None else sorted(min(cut, len(text)) for cut in cuts)
    return [TextDelta(text[a:b]) for a, b in pairwise([0, *places, len(text)])]


def wholes(made: list[PartialJson]) -> list[Json]:
    return [part.value for part in made if part.is_complete]


@given(json_objects, cuts, st.sampled_from(["{}", "```json\n{}\n```", "See [the docs] {{it}}: {}", "[1{}"]))
def test_the_value_is_found_in_its_text_at_any_cut(value: Json, cuts: list[int], around: str) -> None:
    text = around.replace("{}", json.dumps(value))

    assert wholes(read(*deltas(text, cuts)))[-1:] == [value]


@given(json_objects, cuts)
def test_arguments_are_read_for_each_call(value: Json, cuts: list[int]) -> None:
    text = json.dumps(value)
    pieces = [token.text for token in deltas(text, cuts) if isinstance(token, TextDelta)]
    calls: list[StreamToken] = [ToolCallStart("a", None, "add"), ToolCallStart("b", None, "find", choice=1)]

    made = read(*calls, *(ToolCallDelta(key, piece) for piece in pieces for key in ("a", "b")))

    assert [(part.key, part.tool, part.choice, part.value) for part in made if part.is_complete] == [
        ("a", "add", 0, value),
        ("b", "find", 1, value),
    ]


@given(json_objects)
def test_a_value_stays_what_it_was_however_late_it_is_read(value: Json) -> None:
    machine, at_once, made = PartialJsonReader(), list[Json](), list[PartialJson]()

    for token in deltas(json.dumps(value)):
        for part in machine.feed(token):
            made.append(part)
            at_once.append(part.value)

    assert [part.value for part in reversed(made)][::-1] == at_once
    assert made[-1].is_complete
    assert made[-1].live == value


def test_it_grows_delta_by_delta() -> None:
    made = read(*(TextDelta(text) for text in ['{"title": "Mo', "by", ' Dick", "pages', '": 63', "5, ", "}", "."]))

    assert [(part.path, part.value) for part in made] == [
        (("title",), {"title": "Mo"}),
        (("title",), {"title": "Moby"}),
        (("title",), {"title": "Moby Dick"}),
        (("pages",), {"title": "Moby Dick", "pages": 635}),
    ]


def test_what_turns_out_to_be_no_json_is_let_go_of_and_the_next_is_numbered() -> None:
    made = read(TextDelta('In [1] and [two]: {"a": 1} or {"b": 2}'))

    assert [(part.number, part.is_complete, part.value) for part in made] == [
        (0, True, [1]),
        (1, False, []),
        (2, True, {"a": 1}),
        (3, True, {"b": 2}),
    ]


def test_prose_gives_nothing() -> None:
    assert read(TextDelta("It was a dark "), ReasoningDelta('{"a": 1}'), TextDelta("and stormy night.")) == []


def test_arguments_that_are_no_json_give_no_more_and_hurt_nobody() -> None:
    made = read(
        ToolCallStart("a", None, "add"),
        ToolCallDelta("a", '{"a": oops'),
        ToolCallDelta("a", ', "b": 1}'),
        ToolCallTruncated("a", None, "add", '{"a": oops, "b": 1}'),
        TextDelta("{}"),
    )

    assert [(part.key, part.is_complete, part.value) for part in made] == [("a", False, {}), (None, True, {})]


def test_a_call_that_comes_whole_is_read_whole_and_one_in_pieces_once() -> None:
    whole = ToolCall("a", None, FunctionCall("add", '{"a": 1}'))

    assert wholes(read(whole)) == [{"a": 1}]
    assert wholes(read(ToolCallStart("a", None, "add"), whole)) == [{"a": 1}]
    assert wholes(read(ToolCallStart("a", None, "add"), ToolCallDelta("a", '{"a": 1}'), whole)) == [{"a": 1}]


def test_a_number_by_itself_is_whole_when_its_call_is() -> None:
    call = ToolCall("a", None, FunctionCall("add", "42"))

    made = read(ToolCallStart("a", None, "add"), ToolCallDelta("a", "4"), ToolCallDelta("a", "2"), call)

    assert wholes(made) == [42]


def test_one_tool_alone_may_be_read() -> None:
    made = read(
        TextDelta("{}"),
        ToolCallStart("a", None, "add"),
        ToolCallStart("b", None, "find"),
        ToolCallDelta("a", "[1]"),
        ToolCallDelta("b", "[2]"),
        ToolCallDelta("c", "[3]"),
        ToolCall("d", None, FunctionCall("add", "[4]")),
        tool="find",
    )

    assert wholes(made) == [[2]]


def test_choices_are_read_apart_and_blocks_together() -> None:
    made = read(TextDelta("[", 0, 0), TextDelta("[1", 0, 1), TextDelta("2]", 1, 0), TextDelta("]", 1, 1))

    assert [(part.choice, part.value) for part in made if part.is_complete] == [(0, [2]), (1, [1])]


def test_a_value_is_a_copy_of_ones_own() -> None:
    machine = PartialJsonReader()
    (part,) = machine.feed(TextDelta('{"a": [1, '))

    part.value["a"].append("mine")
    (whole,) = machine.feed(TextDelta("2]}"))

    assert part.value == {"a": [1]}
    assert whole.value == {"a": [1, 2]}


def test_the_live_value_is_shared_and_grows() -> None:
    machine = PartialJsonReader()
    (part,) = machine.feed(TextDelta('{"a": ["x'))

    live = part.live
    machine.feed(TextDelta('y", 1]}'))

    assert live is part.live
    assert live == {"a": ["xy", 1]}


def test_another_thread_may_read_while_it_grows() -> None:
    machine = PartialJsonReader()
    (part,) = machine.feed(TextDelta('{"a": ["'))

    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(lambda: part.value) for _ in range(200)]
        for _ in range(2_000):
            machine.feed(TextDelta("x"))

    assert all(one.result() == {"a": [""]} for one in reads)


def test_equal_parts_are_equal_and_say_what_they_are() -> None:
    one, same = read(TextDelta("[1]")), read(TextDelta("["), TextDelta("1]"))

    assert one[-1] == same[-1]
    assert same[0] != same[-1]
    assert one[0] != [1]
    assert repr(one[0]) == "<PartialJson complete: [1]>"
    assert repr(read(ToolCall("a", None, FunctionCall("add", "[1]")))[0]) == "<PartialJson of add (a) complete: [1]>"
    with pytest.raises(TypeError, match="unhashable"):
        hash(one[0])


def test_limits_end_the_value_and_not_the_stream() -> None:
    faucet = Faucet[StreamToken]()
    consumer = Consumer(faucet.stream.pipe(partial_json(max_depth=2, max_characters=20)))

    faucet.push(TextDelta("[[["), TextDelta("1"), TextDelta('{"a": "' + 20 * "x"), TextDelta('"} {"b": 1}'))
    faucet.complete()

    assert consumer.is_completed
    assert consumer.heard[-1].value == {"b": 1}
    assert sum(part.is_complete for part in consumer.heard) == 1
