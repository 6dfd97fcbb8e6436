import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.dialects._tool_calls import ToolCalls, whole_arguments
from rxstream.dialects._values import MAX_DEPTH
from rxstream.errors import ProtocolError
from rxstream.surrogates import mend_text
from rxstream.tokens import (
    FunctionCall,
    StreamToken,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
)
from tests.dialects.reading import cut
from tests.strategies import json_objects

slots = st.integers(0, 2)
words = st.sampled_from([None, "", "null", "a", "b"])
any_text = st.text(st.characters(exclude_categories=[]), max_size=6)  # lone surrogates too
steps = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), slots, words, words),
        st.tuples(st.just("add"), slots, any_text | st.sampled_from(["{", "}", '"a":1', "{}", "[", "]"])),
        st.tuples(st.just("give"), slots, json_objects),
        st.tuples(st.just("finish"), slots, st.booleans()),
    )
)


def take(calls: ToolCalls, step: tuple[object, ...]) -> list[StreamToken]:
    match step:
        case "begin", int(slot), str() | None as id, str() | None as name:
            return calls.begin_or_update(slot, id=id, name=name)
        case "add", int(slot), str(text):
            return calls.add(slot, text)
        case "give", int(slot), value:
            return calls.give(slot, value)
        case "finish", int(slot), bool(cut_short):
            return calls.finish(slot, cut_short=cut_short)
        case _:
            raise AssertionError(step)


def called(arguments: str) -> list[StreamToken]:
    """What a call with these arguments ends in."""
    calls = ToolCalls()
    calls.begin_or_update(0, id="i", name="f")
    calls.add(0, arguments)
    return calls.finish(0)


@given(steps)
def test_every_call_starts_once_and_ends_once_whatever_comes(sequence: list[tuple[object, ...]]) -> None:
    calls = ToolCalls()

    tokens = [token for step in sequence for token in take(calls, step)] + calls.cut()

    begun: set[str] = set()
    ended: set[str] = set()
    for token in tokens:
        match token:
            case ToolCallStart():
                assert token.key not in begun | ended
                assert token.name in {"a", "b"}
                begun.add(token.key)
            case ToolCallDelta():
                assert token.key in begun - ended
            case ToolCall():
                assert token.key in begun - ended
                assert token.parsed is not ...
                ended.add(token.key)
            case ToolCallTruncated():
                assert token.key not in ended
                ended.add(token.key)
            case _:
                raise AssertionError(token)
    assert begun <= ended


@given(json_objects, st.data())
def test_where_the_arguments_are_cut_does_not_matter(arguments: dict[str, object], data: st.DataObject) -> None:
    text = json.dumps(arguments, ensure_ascii=data.draw(st.booleans()))
    offsets = data.draw(st.lists(st.integers(0, len(text.encode()))))
    pieces = [piece.decode("utf-16-le", "surrogatepass") for piece in cut_at_units(text, offsets)]
    calls = ToolCalls()
    calls.begin_or_update("slot", id="i", name="f")

    deltas = [token for piece in pieces for token in calls.add("slot", piece)]
    [whole] = calls.finish("slot")

    assert whole == ToolCall("call-0", "i", FunctionCall("f", text), text)
    assert all(isinstance(delta, ToolCallDelta) and delta.key == "call-0" for delta in deltas)


def cut_at_units(text: str, offsets: list[int]) -> list[bytes]:
    """The text in UTF-16, cut at units: as servers do that cut characters in two."""
    return cut(text.encode("utf-16-le", "surrogatepass"), [offset // 2 * 2 for offset in offsets])


@given(json_objects, st.data())
def test_half_an_object_is_never_a_call_to_be_run(arguments: dict[str, object], data: st.DataObject) -> None:
    text = json.dumps(arguments)
    half = text[: data.draw(st.integers(0, len(text) - 1))]
    calls = ToolCalls()
    calls.begin_or_update(0, id="i", name="f")
    calls.add(0, half)

    assert calls.finish(0, cut_short=True) == [ToolCallTruncated("call-0", "i", "f", half)]


@given(any_text | st.sampled_from(["NaN", "1e999", "9" * 5_000, '"\\ud83d"', "[" * 100_000, '{"a":"\n"}']))
def test_any_text_is_judged_and_what_is_whole_can_be_read(text: str) -> None:
    [token] = called(text)

    assert isinstance(token, ToolCallTruncated) or (isinstance(token, ToolCall) and token.parsed is not ...)


def test_a_call_is_given_in_pieces_and_then_whole() -> None:
    calls = ToolCalls()

    tokens = [
        *calls.begin_or_update(7, id="call_x", name="add", choice=1),
        *calls.add(7, '{"a":'),
        *calls.add(7, ""),
        *calls.add(7, " 1}"),
        *calls.finish(7),
    ]

    assert tokens == [
        ToolCallStart("call-0", "call_x", "add", 1),
        ToolCallDelta("call-0", '{"a":'),
        ToolCallDelta("call-0", " 1}"),
        ToolCall("call-0", "call_x", FunctionCall("add", '{"a": 1}'), '{"a": 1}'),
    ]


def test_arguments_that_come_before_the_name_are_held_until_it_comes() -> None:
    calls = ToolCalls()

    held = [*calls.begin_or_update(0, id="", name="null"), *calls.add(0, "{"), *calls.add(0, "}")]
    told = calls.begin_or_update(0, id="null", name="now")

    assert held == []
    assert told == [ToolCallStart("call-0", None, "now"), ToolCallDelta("call-0", "{}")]


def test_the_first_real_id_and_name_count_and_an_id_may_come_last() -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, id=None, name="first")

    assert calls.begin_or_update(0, id="late", name="second") == []
    assert calls.begin_or_update(0, id="later") == []

    assert (calls.id(0), calls.name(0)) == ("late", "first")
    assert calls.finish(0) == [ToolCall("call-0", "late", FunctionCall("first", "{}"), "")]


@pytest.mark.parametrize("blank", ["", " ", "\n\t "])
def test_no_arguments_are_an_empty_object_unless_the_answer_was_cut_short(blank: str) -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, name="f")
    calls.add(0, blank)
    calls.begin_or_update(1, name="f")
    calls.add(1, blank)

    assert calls.finish(0) == [ToolCall("call-0", None, FunctionCall("f", "{}"), blank)]
    assert calls.finish(1, cut_short=True) == [ToolCallTruncated("call-1", None, "f", blank)]


def test_a_number_may_have_been_going_on_when_the_answer_was_cut_short() -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, name="f")
    calls.add(0, "12")

    assert calls.finish(0, cut_short=True) == [ToolCallTruncated("call-0", None, "f", "12")]


def test_an_object_has_no_raw_text_but_a_delta_all_the_same() -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, id="i", name="f")

    tokens = [*calls.give(0, {"ü": [1]}), *calls.finish(0)]

    assert tokens == [
        ToolCallDelta("call-0", '{"ü":[1]}'),
        ToolCall("call-0", "i", FunctionCall("f", '{"ü":[1]}'), None),
    ]


def test_an_object_that_nests_too_deeply_to_be_written_is_nonsense() -> None:
    value: object = {}
    for _ in range(100_000):
        value = [value]

    with pytest.raises(ProtocolError, match="too deeply"):
        ToolCalls().give(0, value)


def test_a_call_without_a_name_is_not_to_be_run() -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, id="i")
    calls.add(0, "{}")

    assert calls.finish(0) == [ToolCallTruncated("call-0", "i", "", "{}")]


def test_a_place_in_which_nothing_was_said_is_no_call() -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, id="", name=None)

    assert calls.finish(0) == []


def test_a_finished_slot_takes_another_call_under_another_key() -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, id="a", name="f")
    calls.finish(0)

    assert 0 not in calls
    assert calls.finish(0) == []
    assert calls.begin_or_update(0, id="b", name="g") == [ToolCallStart("call-1", "b", "g")]


def test_calls_are_finished_in_the_order_in_which_they_began_and_by_choice() -> None:
    calls = ToolCalls()
    for slot, choice in (("z", 0), ("a", 1), ("m", 0)):
        calls.begin_or_update(slot, name=slot, choice=choice)

    first = calls.finish_all(0)
    rest = calls.finish_all()

    assert [token.function.name for token in first if isinstance(token, ToolCall)] == ["z", "m"]
    assert [token.function.name for token in rest if isinstance(token, ToolCall)] == ["a"]


def test_what_is_open_when_the_stream_breaks_is_truncated_even_if_it_is_whole_json() -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, id="a", name="f")
    calls.add(0, "{}")
    calls.begin_or_update(1, id="b", name="g")

    assert calls.cut() == [ToolCallTruncated("call-0", "a", "f", "{}"), ToolCallTruncated("call-1", "b", "g", "")]
    assert calls.cut() == []


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ('{"a": "\\ud83d"}', '{"a":"\ufffd"}'),  # half a pair, as an escape
        ('{"a": "\ud83d"}', '{"a": "\ufffd"}'),  # half a pair, as it is
        ('{"a": "\ud83d\ude00"}', '{"a": "😀"}'),  # both halves, from two deltas
        ('{"a": "b\nc"}', '{"a":"b\\nc"}'),  # a line end inside a string
        ('{"a": 123456789012345678901234567890}', '{"a": 123456789012345678901234567890}'),
    ],
)
def test_what_only_a_tolerant_reader_takes_becomes_json_that_any_reader_takes(sent: str, read: str) -> None:
    [call] = called(sent)

    assert isinstance(call, ToolCall)
    assert call.function.arguments == read
    assert call.arguments_raw == sent.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@pytest.mark.parametrize("text", ["{", '{"a":1}}', "{'a': 1}", "nothing", '{"a": NaN}', "1e999", '{"a": 1'])
def test_what_is_no_json_is_truncated(text: str) -> None:
    assert called(text) == [ToolCallTruncated("call-0", "i", "f", text)]


def test_arguments_may_nest_only_so_deep_that_reading_them_again_never_fails() -> None:
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH

    assert whole_arguments(deepest) == deepest
    assert whole_arguments(f"[{deepest}]") is None
    assert whole_arguments('{"a":"' + "[" * 1_000 + '"}') is not None


@pytest.mark.parametrize(
    ("pieces", "came_whole"), [(["{}"], True), (["{", "}"], False), (["{"], False), ([" "], False), ([], False)]
)
def test_a_call_came_whole_if_one_piece_held_all_of_it(pieces: list[str], came_whole: bool) -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, name="f")
    for piece in pieces:
        calls.add(0, piece)

    assert calls.came_whole(0) is came_whole
    assert calls.came_whole("no such slot") is False


@given(any_text, st.data())
def test_free_text_is_whole_whatever_it_is_and_wherever_it_is_cut(text: str, data: st.DataObject) -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, id="i", name="f", item_id="x", is_free_text=True)
    offsets = data.draw(st.lists(st.integers(0, len(text)), max_size=3).map(sorted))
    for start, end in pairwise([0, *offsets, len(text)]):
        calls.add(0, text[start:end])

    assert calls.text(0) == text
    [whole] = calls.finish(0)

    assert isinstance(whole, ToolCall)
    assert whole.is_free_text
    assert whole.item_id == "x"
    assert whole.parsed == whole.arguments_raw == mend_text(text)


def test_free_text_that_was_cut_short_is_not_to_be_run() -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, id="i", name="f", is_free_text=True)
    calls.add(0, "{}")

    assert calls.finish(0, cut_short=True) == [ToolCallTruncated("call-0", "i", "f", "{}")]
    assert calls.text(0) == ""


def test_a_value_that_came_in_another_form_stands_in_the_place_of_the_text_so_far() -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, name="f")
    grown = calls.add(0, '{"a":1,')

    calls.replace(0, {"a": 1, "b": "ü"})

    assert grown == [ToolCallDelta("call-0", '{"a":1,')]
    assert calls.finish(0) == [ToolCall("call-0", None, FunctionCall("f", '{"a":1,"b":"ü"}'), None)]


def test_asking_for_the_text_again_and_again_joins_it_once() -> None:
    calls = ToolCalls()
    calls.begin_or_update(0, name="a")
    for piece in ("{", '"x": ', "1}"):
        calls.add(0, piece)

    first, again = calls.text(0), calls.text(0)

    assert first == '{"x": 1}'
    assert again is first
    assert not calls.came_whole(0)
    assert [type(token) for token in calls.finish(0)] == [ToolCall]


def test_the_calls_of_one_choice_are_finished_in_their_order() -> None:
    calls = ToolCalls()
    for slot, choice in (("a", 1), ("b", 0), ("c", 1), ("d", 1)):
        calls.begin_or_update(slot, name=slot, choice=choice)
    calls.finish("c")
    calls.begin_or_update("c", name="c again", choice=1)

    finished = calls.finish_all(1)

    names = [token.function.name for token in finished if isinstance(token, ToolCall)]
    assert names == ["a", "d", "c again"]
    assert calls.finish_all(1) == []
    assert len(calls.cut()) == 1
