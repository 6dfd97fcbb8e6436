"""`json_elements`: each element once, when it is whole."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.operators import JsonElementReader, json_elements
from rxstream.tokens import FunctionCall, Json, StreamToken, TextDelta, ToolCall, ToolCallDelta, ToolCallStart
from tests.demand import Consumer, Faucet
from tests.strategies import json_values

BOOK: dict[str, Json] = {
    "items": [1, {"a": [2, 3]}, "x", None, []],
    "result": {"items": [[4], 5], "other": [6]},
    "pages": [{"items": [7]}, {"items": [8, 9]}, {"none": [10]}],
    "it's": [11],
    "object": {"0": 12},
}


def read(*tokens: StreamToken, path: str | tuple[str | int, ...] = (), tool: str | None = None) -> list[Json]:
    machine = JsonElementReader(path, tool=tool)
    made = [made for token in tokens for made in machine.feed(token)]
    return made + machine.flush()


@pytest.mark.parametrize(
    ("path", "elements"),
    [
        ("items", BOOK["items"]),
        ("$.items[*]", BOOK["items"]),
        ("$['items'][*]", BOOK["items"]),
        (("result", "items"), [[4], 5]),
        ("$.result.items[*]", [[4], 5]),
        (("pages", 1, "items"), [8, 9]),
        ("$.pages[1].items[*]", [8, 9]),
        ("$.pages[*].items[*]", [7, 8, 9]),
        ('$["it\'s"][*]', [11]),
        ("object", []),
        ("nowhere", []),
        ((), []),
        ("$[*]", []),
    ],
)
def test_the_path_says_which_array(path: str | tuple[str | int, ...], elements: list[Json]) -> None:
    text = json.dumps(BOOK)

    assert read(TextDelta(text), path=path) == elements
    assert read(*map(TextDelta, text), path=path) == elements


@given(st.lists(json_values, max_size=6), st.lists(st.integers(0, 120), max_size=30))
def test_any_cut_gives_the_same_elements(elements: list[Json], cuts: list[int]) -> None:
    text = f"Here you are:\n```json\n{json.dumps({'skip': elements, 'items': elements})}\n```"
    places = sorted(min(cut, len(text)) for cut in cuts)

    made = read(*(TextDelta(text[a:b]) for a, b in pairwise([0, *places, len(text)])), path="items")

    assert made == elements


def test_an_element_comes_with_its_closing_bracket() -> None:
    machine = JsonElementReader()

    made = [
        machine.feed(TextDelta(text)) for text in ['[{"a": 1', "}", ", [2", "]", ', "x', '"', ", 3", ", ", "4", "]"]
    ]

    assert made == [[], [{"a": 1}], [], [[2]], [], ["x"], [], [3], [], [4]]


def test_what_breaks_off_takes_nothing_back_and_is_not_given() -> None:
    faucet = Faucet[StreamToken]()
    consumer = Consumer(faucet.stream.pipe(json_elements("items")))

    faucet.push(TextDelta('{"items": [1, 2, {"half": 3'))
    faucet.complete()

    assert consumer.heard == [1, 2]
    assert consumer.is_completed


def test_after_what_is_no_json_the_next_value_is_looked_for() -> None:
    assert read(TextDelta('{"items": [1, oops] {"items": [2]}'), path="items") == [1, 2]


def test_arguments_are_read_too_or_those_of_one_tool() -> None:
    tokens: list[StreamToken] = [
        TextDelta("[1]"),
        ToolCallStart("a", None, "add"),
        ToolCallDelta("a", "[2"),
        ToolCallDelta("a", "] [3]"),
        ToolCall("b", None, FunctionCall("find", "[4]")),
    ]

    assert read(*tokens) == [1, 2, 4]
    assert read(*tokens, tool="find") == [4]


@pytest.mark.parametrize("path", ["$", "$.items", "$[0]", "$.items[*", "$items[*]", "$..items[*]", "$.items[*] "])
def test_a_path_that_makes_no_sense_is_refused_at_once(path: str) -> None:
    with pytest.raises(ValueError, match=r"is no path|does not name"):
        json_elements(path)
