"""JSON that grows: at any cut the value in the end is that of the whole, and every one before is a beginning of it."""

import json
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.framing import JsonGrower
from rxstream.surrogates import mend_value
from rxstream.tokens import Json
from tests.strategies import json_values

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\"/\n\t\x7f\x00é中😀'), max_size=12)
documents = st.recursive(
    json_values | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
cuts = st.lists(st.integers(0, 200), max_size=30)


def pieces(text: str, cuts: list[int]) -> list[str]:
    return [text[a:b] for a, b in pairwise([0, *sorted(min(cut, len(text)) for cut in cuts), len(text)])]


def grown(text: str, cuts: list[int] | None = None, **options: Any) -> JsonGrower:
    grower = JsonGrower(**options)
    for piece in pieces(text, range_of(text) if cuts is None else cuts):
        grower.feed(piece)
    grower.finish()
    return grower


def range_of(text: str) -> list[int]:
    """Every place."""
    return list(range(len(text)))


def is_beginning(part: Json, whole: Json) -> bool:
    """Whether `part` may grow into `whole`: all but what is last in it is there already."""
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    if isinstance(part, list) and isinstance(whole, list):
        parts, wholes = cast(list[Json], part), cast(list[Json], whole)
        return (
            len(parts) <= len(wholes)
            and parts[:-1] == wholes[: len(parts[:-1])]
            and all(map(is_beginning, parts, wholes))
        )
    if isinstance(part, dict) and isinstance(whole, dict):
        some, every = cast(dict[str, Json], part), cast(dict[str, Json], whole)
        return list(some) == list(every)[: len(some)] and is_beginning(
            list(some.values()), list(every.values())[: len(some)]
        )
    return part == whole


@given(documents, cuts, st.booleans(), st.sampled_from([None, 1]))
def test_the_value_is_that_of_the_whole_document(
    value: Json, cuts: list[int], is_ascii: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)

    grower = grown(text, cuts)

    assert grower.is_complete
    assert grower.value == value == json.loads(text)
    assert repr(grower.value) == repr(json.loads(text))  # 1 is not 1.0, nor is it True


@given(documents, st.booleans())
def test_every_value_before_is_a_beginning_of_it_and_a_change_is_told(value: Json, is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    grower, before = JsonGrower(), "nothing"

    for character in text:
        _, has_changed = grower.feed(character)
        now = json.dumps(grower.value) if grower.has_begun else "nothing"
        assert has_changed == (now != before or grower.is_complete) or not grower.has_begun or now == "null"
        if has_changed:
            assert is_beginning(grower.value, value)
        before = now


@given(st.text('[]{}",:\\u0d8c1e+-. \ntrfalsn', max_size=40), cuts)
def test_any_text_is_json_to_both_readers_or_to_none(text: str, cuts: list[int]) -> None:
    grower = grown(text, cuts)
    try:
        value = mend_value(json.loads(text, strict=False))
    except ValueError:
        # It stops behind the end of a value, so that more text behind it is the caller's affair.
        assert grower.is_malformed or not grower.is_complete or not is_json(text)
    else:
        assert grower.is_complete
        assert grower.value == value


def is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except ValueError:
        return False
    return True


GROWTHS: list[tuple[str, list[Json]]] = [
    (r'["a\nb"]', [[], [""], ["a"], ["a\n"], ["a\nb"], ["a\nb"]]),
    (r'["\u00e9"]', [[], [""], ["é"], ["é"]]),
    (r'["\ud83d\ude00"]', [[], [""], ["😀"], ["😀"]]),
    (r'["\ud83d."]', [[], [""], ["\ufffd."], ["\ufffd."]]),
    ('"a"', ["", "a", "a"]),
    ("[12, true ]", [[], [12], [12, True], [12, True]]),
    ('{"a": {"b": null}}', [{}, {"a": {}}, {"a": {"b": None}}, {"a": {"b": None}}]),
]


@pytest.mark.parametrize(("text", "values"), GROWTHS)
def test_how_a_value_grows(text: str, values: list[Json]) -> None:
    grower, seen = JsonGrower(), list[Json]()

    for character in text:
        if grower.feed(character)[1]:
            seen.append(json.loads(json.dumps(grower.value)))

    assert seen == values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'["\u00e9', ["é"]),
        (r'["\u4e2d', ["中"]),
        (r'["\ud83d', [""]),
        (r'["\ud83d\ude00', ["😀"]),
        (r'["\ud800\udc00', ["\U00010000"]),
        (r'["\udbff\udfff', ["\U0010ffff"]),
        (r'["\ud83d\ud83d\ude00', ["\ufffd😀"]),
        (r'["a\ud83d\n', ["a\ufffd\n"]),
        (r'["\ude00', ["\ufffd"]),
    ],
)
def test_an_escape_is_there_once_it_has_come_but_half_a_pair_waits_for_the_other(text: str, value: Json) -> None:
    grower = JsonGrower()

    grower.feed(text)

    assert grower.value == value


@pytest.mark.parametrize(
    "text",
    [
        *("[1,]", "[01]", "[tru]", "{a:1}", "[1 2]", '["\\x"]', "[}", "{1:2}", "NaN", "[-]", '{"a",1}', "]"),
        *("[X1]", "[X}]", '{"a":1 X', "[1}", '{"a":1]'),
    ],
)
def test_what_is_no_json_is_known_for_it(text: str) -> None:
    assert grown(text).is_malformed
    assert grown(text, []).is_malformed


def test_reading_stops_where_the_text_is_no_json_or_behind_the_end() -> None:
    assert JsonGrower().feed("[1, x]") == (5, True)
    assert JsonGrower().feed("[1}") == (2, True)
    assert JsonGrower().feed("[1] [2]") == (3, True)
    assert JsonGrower(embedded=True).feed("so: [1") == (6, True)


def test_nothing_is_read_behind_the_end_or_behind_what_is_no_json() -> None:
    for text in ("[1]", "[1}"):
        grower = JsonGrower()
        grower.feed(text)

        assert grower.feed("[2]", 1) == (1, False)
        assert grower.value == [1]


def test_reading_may_begin_anywhere_in_a_text() -> None:
    grower = JsonGrower(embedded=True, max_characters=5)

    assert grower.feed("[1] and [2] and [3]", 4) == (11, True)
    assert grower.value == [2]
    assert not grower.is_malformed
    assert JsonGrower(max_characters=3).feed("[1] [2]", 4) == (7, True)


def test_text_before_the_value_begins_nothing_and_changes_nothing() -> None:
    grower = JsonGrower(embedded=True)

    assert grower.feed("so: ") == (4, False)
    assert not grower.has_begun
    assert grower.feed("[") == (1, True)
    assert (grower.has_begun, grower.is_complete, grower.is_malformed) == (True, False, False)


@pytest.mark.parametrize(
    ("text", "completes", "is_complete"),
    [("12", True, True), ("true", True, True), ("1x", False, False), ("[1", False, False), ("[1]", False, True)],
)
def test_the_end_completes_a_number_or_word_by_itself(text: str, completes: bool, is_complete: bool) -> None:
    grower = JsonGrower()
    grower.feed(text)

    assert grower.finish() is completes
    assert grower.is_complete is is_complete


def test_the_path_is_where_the_change_was() -> None:
    grower, paths = JsonGrower(), list[tuple[str | int, ...]]()

    for character in '{"a":[1,"x"],"b":{}}':
        if grower.feed(character)[1]:
            paths.append(grower.path)

    assert paths == [(), ("a",), ("a", 0), ("a", 1), ("a", 1), ("b",), ()]


@pytest.mark.parametrize("text", ["[" * 11, '{"a":' * 11])
def test_too_deep_is_no_json(text: str) -> None:
    assert grown(text, max_depth=10).is_malformed
    assert not grown(text, max_depth=11).is_malformed


def test_too_long_is_no_json() -> None:
    assert not grown('"' + "x" * 9, max_characters=10).is_malformed
    assert grown('"' + "x" * 10, max_characters=10).is_malformed


def test_what_is_before_the_value_does_not_count() -> None:
    assert grown(20 * "prose " + "[12345]", max_characters=10, embedded=True).value == [12345]
    assert grown(20 * "prose " + "[12345", [], max_characters=10, embedded=True).value == []
    assert not grown(20 * "prose " + "[12345", [], max_characters=10, embedded=True).is_malformed


def test_an_integer_longer_than_python_reads_is_an_infinity() -> None:
    assert grown("[" + "9" * 5_000 + "]").value == [float("inf")]


@given(st.lists(documents, max_size=5), documents, cuts)
def test_elements_are_handed_out_and_nothing_else_is_kept(elements: list[Json], other: Json, cuts: list[int]) -> None:
    text = json.dumps({"before": other, "items": elements, "after": [other]})
    grower, taken = JsonGrower(elements_of=("items",)), list[Json]()

    for piece in pieces(text, cuts):
        grower.feed(piece)
        taken += grower.take_elements()

    assert taken == elements
    assert grower.is_complete
    assert grower.value is None


def test_an_element_is_as_long_as_the_text_since_the_last_one() -> None:
    text = '["ab","ab","ab"]'

    assert not grown(text, elements_of=(), max_characters=5).is_malformed
    assert grown(text, elements_of=(), max_characters=4).is_malformed


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("a", None), [1, 2, 3]),
        (("a", 0), [1, 2]),
        (("a", 1), [3]),
        (("a", 2), []),
        ((None, 0), []),
        (("a",), [[1, 2], [3]]),
        (("b",), []),
        (("b", "a"), ["x", None]),
    ],
)
def test_a_path_names_members_and_places_or_any_place(path: Any, expected: list[Json]) -> None:
    grower = JsonGrower(elements_of=path)

    grower.feed('{"a": [[1, 2], [3]], "b": {"a": ["x", null]}}')

    assert grower.take_elements() == expected


def test_of_a_long_array_one_element_is_kept() -> None:
    grower = JsonGrower(elements_of=(), max_characters=30)
    grower.feed("[")

    for number in range(1_000):
        grower.feed(f'{{"number": {number}}}, ')
        assert len(grower.value) == 0
        assert grower.take_elements() == [{"number": number}]
