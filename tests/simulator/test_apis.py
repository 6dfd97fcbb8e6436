"""What the services' words look like: against recordings of them, and against rxstream's own readers."""

import re
from itertools import groupby
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.errors import ConfigurationError
from rxstream.messages import Usage
from rxstream.simulator import OfferedTool, Script, ScriptedCall, Turn, apis, body, chunks
from rxstream.simulator.api import api_named
from rxstream.tokens import FinishReason, Json
from tests.dialects.event_streams import readable
from tests.shared import SHARED, needs_shared
from tests.simulator.clients import SPOKEN, read_message
from tests.strategies import json_values

each_api = pytest.mark.parametrize("api", SPOKEN)

WHOLE_CALLS = frozenset({"gemini.generate", "ollama.native"})
"""Their calls come whole, with an object for arguments, and end an answer like any other end."""

NO_REFUSALS = frozenset({"cohere.v1", "cohere.v2", "mistral.chat", "ollama.native"})
"""They have no place for a refusal but the text."""
IDS = {"cohere.v1": "generation_id", "gemini.generate": "responseId"}
"""What a whole answer calls its id, where it is not `id`."""

text = st.text(st.characters(codec="utf-8"), max_size=40)
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
arguments = st.dictionaries(text, st.integers(-9, 9) | text, max_size=3)
calls = st.lists(st.builds(ScriptedCall, st.sampled_from(["look", "go"]), arguments), max_size=3).map(tuple)


@given(text=words, reasoning=text, calls=calls, interleaved=st.booleans())
@each_api
def test_what_the_script_says_is_what_a_reader_gets(
    api: str, text: str, reasoning: str, calls: tuple[ScriptedCall, ...], interleaved: bool
) -> None:
    script = Script(text=text, reasoning=reasoning, tool_calls=calls, interleaved=interleaved)

    message = read_message(api, body(api, script))

    assert (message.text, message.reasoning) == (text, "" if api == "cohere.v1" else reasoning)
    assert [(call.name, call.arguments) for call in message.tool_calls] == [
        (call.name, call.arguments) for call in calls
    ]
    assert message.reason is (FinishReason.TOOL_CALLS if calls else FinishReason.STOP)
    assert message.complete


@given(script=st.builds(Script, text=text, refusal=st.none() | words, tool_calls=calls), seed=st.integers(0, 9))
@each_api
def test_the_same_script_and_turn_give_the_same_bytes(api: str, script: Script, seed: int) -> None:
    turn = Turn(seed=seed)

    assert body(api, script, turn) == body(api, script, turn)
    assert body(api, script, turn) != body(api, script, Turn(seed=seed, number=2))


@given(prompt=st.text(max_size=100))
@each_api
def test_the_built_in_answer_takes_up_what_was_asked(api: str, prompt: str) -> None:
    message = read_message(api, body(api, turn=Turn(prompt=prompt)))

    topic = " ".join(next((line for line in prompt.splitlines() if line.strip()), "nothing").split())
    assert topic[:10].split(" ")[0].encode("utf-8", "replace").decode() in message.text
    assert not message.text.isascii()


@each_api
def test_the_built_in_answer_is_as_long_as_it_is_told(api: str) -> None:
    message = read_message(api, body(api, Script(length=1_234)))

    assert message.usage is not None
    assert message.usage.output_tokens == 1_234


@each_api
def test_the_built_in_answer_keeps_to_the_limit_of_the_request(api: str) -> None:
    message = read_message(api, body(api, turn=Turn(max_tokens=7)))

    assert message.reason is FinishReason.LENGTH
    assert message.usage is not None
    assert message.usage.output_tokens == 7


@each_api
def test_the_built_in_answer_stops_before_a_stop_sequence(api: str) -> None:
    whole = read_message(api, body(api)).text
    sooner, later = whole[20:26], whole[30:36]

    message = read_message(api, body(api, turn=Turn(stop=("nowhere to be found", later, sooner))))

    assert message.text == whole[: whole.index(sooner)]
    assert message.reason is FinishReason.STOP


@each_api
def test_a_scripted_text_is_said_whole_whatever_the_limits(api: str) -> None:
    message = read_message(api, body(api, Script(text="one two three"), Turn(max_tokens=1, stop=("two",))))

    assert message.text == "one two three"


@each_api
def test_offered_tools_are_called_and_their_results_told(api: str) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
    turn = Turn(prompt="Oslo", tools=(OfferedTool("weather", schema),))

    called = read_message(api, body(api, Script(call_tools=True), turn))
    told = read_message(api, body(api, Script(call_tools=True), msgspec.structs.replace(turn, tool_results=("18 °C",))))

    assert [(call.name, call.arguments) for call in called.tool_calls] == [("weather", {"city": "Oslo", "days": 1})]
    assert not told.tool_calls
    assert "18 °C" in told.text


@each_api
def test_a_refusal_is_a_refusal(api: str) -> None:
    message = read_message(api, body(api, Script(refusal="I would rather not.")))

    assert message.text == ("I would rather not." if api in NO_REFUSALS else "")
    assert "I would rather not." in (
        message.refusal or message.text or readable(body(api, Script(refusal="I would rather not."))).decode()
    )
    assert message.complete


@each_api
@pytest.mark.parametrize("reason", [FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS])
def test_a_script_may_end_for_any_reason(api: str, reason: FinishReason) -> None:
    if api in {"cohere.v1", "openai.responses", *WHOLE_CALLS} and reason is FinishReason.TOOL_CALLS:
        pytest.skip("the API has no word for it: the calls say so themselves")
    assert read_message(api, body(api, Script(text="Hi", finish=reason))).reason is reason


@each_api
def test_an_unusual_word_for_the_end_is_passed_on(api: str) -> None:
    message = read_message(api, body(api, Script(text="Hi", raw_finish="bored")))

    assert (message.finish_reason, message.reason) == ("bored", FinishReason.OTHER)


@each_api
def test_scripted_usage_is_reported_as_it_is(api: str) -> None:
    usage = Usage(input_tokens=11, output_tokens=22, cached_input_tokens=3, total_tokens=33)

    message = read_message(api, body(api, Script(text="Hi", usage=usage)))

    assert message.usage is not None
    cached = None if api == "ollama.native" else 3
    assert (message.usage.input_tokens, message.usage.output_tokens) == (11, 22)
    assert message.usage.cached_input_tokens == cached


@each_api
def test_arguments_that_are_no_json_are_sent_all_the_same(api: str) -> None:
    if api in WHOLE_CALLS:
        pytest.skip("the wire has an object: test_a_call_that_is_no_object_is_not_one_to_run")
    script = Script(tool_calls=(ScriptedCall("look", '{"at": "the s'),), finish=FinishReason.LENGTH)

    message = read_message(api, body(api, script))

    assert [(call.name, call.arguments, call.arguments_raw) for call in message.tool_calls] == [
        ("look", None, '{"at": "the s')
    ]


@each_api
def test_text_may_be_cut_inside_a_surrogate_pair(api: str) -> None:
    assert read_message(api, body(api, Script(deltas=("a\ud83d", "\ude42b")))).text == "a🙂b"


@each_api
def test_a_whole_answer_says_the_same_as_a_stream(api: str) -> None:
    script = Script(text="Hi there", reasoning="hm", tool_calls=(ScriptedCall("look", {"at": "sky"}, "call-1"),))
    turn = Turn(stream=False)

    (whole,) = chunks(api, script, turn)

    said = msgspec.json.decode(whole)
    told = ("Hi there", "look") if api == "cohere.v1" else ("Hi there", "hm", "look", "call-1")
    assert all(f'"{each}"'.encode() in whole for each in told)
    assert said.get(IDS.get(api, "id")) == read_message(api, body(api, script, turn=Turn())).id


def test_a_single_call_comes_with_the_role_and_several_after_it() -> None:
    call = ScriptedCall("look", {"at": "sky"})

    single, several = (body("openai.chat", Script(tool_calls=(call,) * count)).split(b"\n\n")[0] for count in (1, 2))

    assert b'"role":"assistant"' in single
    assert b'"name":"look"' in single
    assert b"look" not in several


def test_a_message_without_content_still_has_a_ping() -> None:
    assert body("anthropic.messages", Script(refusal="I would rather not.")).count(b"event: ping") == 1


def test_interleaved_calls_take_turns() -> None:
    script = Script(tool_calls=(ScriptedCall("a", {"x": "one two"}), ScriptedCall("b", {"y": "three four"})))

    apart = [index for index, _ in groupby(indexes_of_calls(script))]
    mixed = [index for index, _ in groupby(indexes_of_calls(msgspec.structs.replace(script, interleaved=True)))]

    assert apart == [0, 1]
    assert mixed[:4] == [0, 1, 0, 1]


def indexes_of_calls(script: Script) -> list[int]:
    return [int(found) for found in re.findall(rb'"tool_calls":\[\{"index":(\d)', body("openai.chat", script))]


def test_choices_take_turns_and_differ() -> None:
    message = read_message("openai.chat", body("openai.chat", turn=Turn(choices=3)))

    assert [choice.index for choice in message.choices] == [0, 1, 2]
    assert len({choice.text for choice in message.choices}) == 3


def test_anthropic_gives_one_choice() -> None:
    message = read_message("anthropic.messages", body("anthropic.messages", Script(text="Hi", choices=3)))

    assert message.text == "Hi"
    assert message.usage is not None
    assert message.usage.output_tokens == 1


def test_usage_comes_only_if_it_was_asked_for() -> None:
    quiet = body("openai.chat", turn=Turn(wants_usage=False))

    assert b'"usage"' not in quiet
    assert read_message("openai.chat", quiet).usage is None


def test_padding_fills_every_chunk_up_to_the_same_remainder_as_in_the_recordings() -> None:
    padded = body("openai.chat", Script(text="Some words, für 日本", tool_calls=(ScriptedCall("a", {"b": "c"}),)))

    assert {len(line) % 16 for line in padded.split(b"\n\n") if b"obfuscation" in line} == {7}
    assert b"obfuscation" not in body("openai.chat", turn=Turn(wants_padding=False))


def test_log_probabilities_come_with_each_piece_of_text() -> None:
    message = read_message("openai.chat", body("openai.chat", Script(text="Hi 🙂"), Turn(wants_logprobs=True)))

    assert "".join(each.token for each in message.logprobs) == "Hi 🙂"
    assert all(each.logprob <= 0 for each in message.logprobs)


@pytest.mark.parametrize(("field", "read"), [("reasoning_content", "hm"), ("reasoning", "hm"), ("hidden", "")])
def test_reasoning_comes_where_each_compatible_server_puts_it(field: Any, read: str) -> None:
    message = read_message("openai.chat", body("openai.chat", Script(text="Hi", reasoning="hm", reasoning_field=field)))

    assert message.reasoning == read
    assert message.usage is not None
    assert message.usage.reasoning_tokens == 1


def test_thinking_is_signed_and_may_be_redacted() -> None:
    script = Script(text="Hi", reasoning="hm", signature="signed", redacted="secret")

    message = read_message("anthropic.messages", body("anthropic.messages", script))

    assert [getattr(part, "redacted", None) for part in message.parts] == ["secret", None, None]
    assert [getattr(part, "signature", None) for part in message.parts] == [None, "signed", None]


def test_a_request_for_thinking_is_granted() -> None:
    assert read_message("anthropic.messages", body("anthropic.messages", turn=Turn(wants_reasoning=True))).reasoning


def test_a_stop_sequence_is_named() -> None:
    said = body("anthropic.messages", Script(text="Hi", stop_sequence="END"))

    assert b'"stop_reason":"stop_sequence","stop_sequence":"END"' in said


@pytest.mark.parametrize(
    "wrong",
    [{"text": "a", "deltas": ("a",)}, {"length": 3, "refusal": "no"}, {"length": -1}, {"choices": 0}],
    ids=str,
)
def test_a_script_that_contradicts_itself_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"say|length|choice"):
        Script(**wrong)


def test_every_service_is_found_by_its_file() -> None:
    assert [api for api in apis() if api in SPOKEN] == SPOKEN


def test_a_service_that_is_not_spoken_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match=r"'gemini'.*anthropic.messages, .*openai.chat"):
        api_named("gemini")


SCRIPTS = {
    "openai/chat-text.sse": Script(text="The capital of the UK is London."),
    "openai/chat-refusal.sse": Script(refusal="I'm very sorry, but I can't assist with that request."),
    "openai/chat-parallel-tools.sse": Script(
        tool_calls=(ScriptedCall("secret", {"word": "melon"}), ScriptedCall("secret", {"word": "radian"}))
    ),
    "openai/chat-logprobs.sse": Script(text="Hi! How can I help?"),
    "anthropic/text.sse": Script(text="Hello"),
    "anthropic/thinking-signature.sse": Script(text="Look both ways.", reasoning="This is a question about safety."),
    "anthropic/redacted-thinking.sse": Script(text="I notice.", redacted="EqkE"),
    "anthropic/parallel-tools.sse": Script(
        tool_calls=(ScriptedCall("color", {"of": "Joe"}), ScriptedCall("color", {"of": "Hadley"}))
    ),
    "anthropic/tool-no-arguments.sse": Script(tool_calls=(ScriptedCall("get_date", ""),)),
    "cohere/v2-thinking-very-long.sse": Script(text="Ask the mirror.", reasoning="Okay, let's see."),
    "mistral/thinking.sse": Script(text="144", reasoning="The user is asking for the product of 12 and 12."),
    "mistral/tool.sse": Script(tool_calls=(ScriptedCall("weather", {"latitude": "52.5200"}),)),
}
FOLDERS = {"anthropic": "anthropic.messages", "cohere": "cohere.v2", "mistral": "mistral.chat", "openai": "openai.chat"}
VARYING = {"stop_details", "inference_geo", "output_tokens_details", "system_fingerprint"}
"""What newer models or newer versions of the service send, and the others do not."""


@needs_shared
@pytest.mark.parametrize("recording", SCRIPTS)
def test_events_have_the_shapes_that_were_recorded(recording: str) -> None:
    api = FOLDERS[recording.partition("/")[0]]
    recorded = shapes((SHARED / "captures" / recording).read_bytes())

    made = shapes(body(api, SCRIPTS[recording], Turn(wants_logprobs="logprobs" in recording)))

    assert made == recorded


def shapes(body: bytes) -> list[Json]:
    """Every shape that events have, in the order of their first appearance; pings come when they like."""
    found: list[Json] = []
    for event in body.split(b"\n\n"):
        name, _, data = event.partition(b"data: ")
        if data.startswith(b"{") and b"ping" not in name:
            made = [name, shape(msgspec.json.decode(data))]
            found += [] if made in found else [made]
    return found


def shape(value: Json) -> Json:
    """Names and kinds, without what is said."""
    match value:
        case {}:
            names = sorted(set(cast("dict[str, Json]", value)) - VARYING)
            return {name: value[name] if name == "type" else shape(value[name]) for name in names}
        case [first, *_]:
            return [shape(first)]
        case _:
            return type(value).__name__


@each_api
def test_an_answer_without_a_word_is_whole(api: str) -> None:
    message = read_message(api, body(api, Script(text="")))

    assert (message.text, message.complete) == ("", True)


@pytest.mark.parametrize("api", sorted(WHOLE_CALLS))
def test_a_call_that_is_no_object_is_not_one_to_run(api: str) -> None:
    script = Script(tool_calls=(ScriptedCall("look", '{"at": "the s'),), finish=FinishReason.LENGTH)

    message = read_message(api, body(api, script))

    assert [call.arguments for call in message.tool_calls if call.arguments is not None] == []
    assert b"look" in body(api, script)
    assert message.reason is FinishReason.LENGTH


@given(arguments=st.dictionaries(text, json_values, max_size=4), named=calls)
def test_gemini_streams_arguments_leaf_by_leaf_if_asked(arguments: Json, named: tuple[ScriptedCall, ...]) -> None:
    script = Script(tool_calls=(ScriptedCall("look", arguments), *named))
    turn = Turn(wants_streamed_arguments=True)

    message = read_message("gemini.generate", body("gemini.generate", script, turn))

    wanted = [("look", without_empty(arguments)), *((call.name, call.arguments) for call in named)]
    assert [(call.name, call.arguments) for call in message.tool_calls] == wanted


def without_empty(value: Json) -> Json:
    """The value as leaves can say it: `null` in the place of an object or a list without any."""
    match value:
        case dict():
            members = cast("dict[str, Json]", value)
            return {name: None if member in ({}, []) else without_empty(member) for name, member in members.items()}
        case list():
            return [None if item in ({}, []) else without_empty(item) for item in cast("list[Json]", value)]
        case _:
            return value
