"""Arguments leaf by leaf: what they add up to, and the text that shows them grow."""

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.dialects import _partial_arguments
from rxstream.dialects._partial_arguments import PartialArguments
from rxstream.errors import ProtocolError
from rxstream.tokens import Json

names = st.text(st.characters(codec="utf-8"), max_size=6)
leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | names
values: st.SearchStrategy[Json] = st.recursive(
    leaves,
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(names, inner, min_size=1, max_size=3),
)
objects = st.dictionaries(names, values, max_size=4)


def leaves_of(value: Json, path: str = "$") -> Iterator[tuple[str, Json]]:
    """The leaves of `value` with their JSON paths, in the order of its text."""
    if isinstance(value, dict):
        for name, member in cast("dict[str, Json]", value).items():
            yield from leaves_of(member, f"{path}[{json.dumps(name)}]")
    elif isinstance(value, list):
        for number, item in enumerate(cast("list[Json]", value)):
            yield from leaves_of(item, f"{path}[{number}]")
    else:
        yield path, value


@given(objects, st.integers(1, 3))
def test_leaves_add_up_to_the_value_and_to_its_text(value: dict[str, Json], size: int) -> None:
    arguments = PartialArguments()
    text = ""
    for path, leaf in leaves_of(value):
        if isinstance(leaf, str):
            for start in range(0, len(leaf), size):
                text += arguments.add(path, leaf[start : start + size], continues=True)
            text += arguments.add(path, "")
        else:
            text += arguments.add(path, leaf)
    text += arguments.close()

    assert arguments.value == value
    assert text == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(objects, st.randoms(use_true_random=False))
def test_in_any_order_the_value_is_right_or_the_places_are_refused(value: dict[str, Json], chance: Any) -> None:
    arguments = PartialArguments()
    shuffled = list(leaves_of(value))
    chance.shuffle(shuffled)
    try:
        text = "".join(arguments.add(path, leaf) for path, leaf in shuffled) + arguments.close()
    except ProtocolError:
        return  # an item of a list came before the ones before it

    assert arguments.value == value
    assert not text.endswith("}") or json.loads(text) == value


def test_what_is_open_is_closed_at_the_end() -> None:
    arguments = PartialArguments()

    text = [arguments.add("$.a.b[0]", 'say "hi', continues=True), arguments.add("$.a.b[0]", '"\n', continues=True)]

    assert text == [r'{"a":{"b":["say \"hi', r"\"\n"]
    assert arguments.close() == '"]}}'
    assert arguments.value == {"a": {"b": ['say "hi"\n']}}


def test_no_leaf_is_an_empty_object() -> None:
    assert PartialArguments().close() == "{}"
    assert PartialArguments().value == {}


def test_two_texts_may_grow_in_turns_but_their_text_stops() -> None:
    arguments = PartialArguments()

    text = [
        arguments.add("$.a", "1", continues=True),
        arguments.add("$.b", "2", continues=True),
        arguments.add("$.a", "3"),
        arguments.add("$.b", "4"),
    ]

    assert text == ['{"a":"1', '","b":"2', "", ""]
    assert arguments.close() == ""
    assert arguments.value == {"a": "13", "b": "24"}


def test_a_text_that_was_over_is_another_one_when_it_comes_again() -> None:
    arguments = PartialArguments()

    arguments.add("$.a", "o", continues=True)
    arguments.add("$.a", "ld")
    arguments.add("$.a", "new")

    assert arguments.value == {"a": "new"}
    assert arguments.close() == ""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.a", {"a": 1}),
        ("$.a-b.c d", {"a-b": {"c d": 1}}),
        ("$['a.b']", {"a.b": 1}),
        (r"""$['it\'s "so"']""", {'it\'s "so"': 1}),
        (r'$["\u00e4\n"]', {"ä\n": 1}),
        ("$.a[0][0]", {"a": [[1]]}),
        ('$[""]', {"": 1}),
    ],
)
def test_a_path_is_of_names_and_numbers(path: str, value: Json) -> None:
    arguments = PartialArguments()

    arguments.add(path, 1)

    assert arguments.value == value


@pytest.mark.parametrize(
    "path", ["", "$", "a", "$a", "$.", "$..a", "$[0]", "$.a[", "$.a[-1]", "$.a[*]", r"$['\x']", "$" + ".a" * 200]
)
def test_a_place_that_can_not_be_read_is_refused(path: str) -> None:
    with pytest.raises(ProtocolError, match="no place"):
        PartialArguments().add(path, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("$.a", "$.a.b"),
        ("$.a.b", "$.a"),
        ("$.a[0]", "$.a.b"),
        ("$.a.b", "$.a[0]"),
        ("$.a[0]", "$.a[2]"),
        ("$.b", "$.a[1]"),
    ],
)
def test_places_that_do_not_fit_together_are_refused(first: str, second: str) -> None:
    arguments = PartialArguments()
    arguments.add(first, 1)

    with pytest.raises(ProtocolError, match="fit together"):
        arguments.add(second, 1)


def test_a_long_text_in_small_pieces_costs_what_it_is_long() -> None:
    arguments = PartialArguments()

    text = [arguments.add("$.a", "xy", continues=True) for _ in range(20_000)]

    assert len("".join(text)) == len('{"a":"') + 40_000
    assert arguments.value == {"a": "xy" * 20_000}


def test_a_long_path_is_not_remembered_beyond_its_stream() -> None:
    known = _partial_arguments.known_steps
    before = known.cache_info().misses

    arguments = PartialArguments()
    arguments.add("$." + "x" * (_partial_arguments.MAX_KNOWN_PATH + 1), 1)
    assert known.cache_info().misses == before

    arguments.add(f"$.a name that no other test has, {before}", 1)
    assert known.cache_info().misses == before + 1
