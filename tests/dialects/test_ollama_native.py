"""What Ollama sends, case by case; what holds for every dialect is in `test_laws` and `test_captures`."""

import json
from pathlib import Path
from typing import Any

import pytest

from rxstream.dialects.ollama_native import NAME, OLLAMA_NATIVE, find_base_url
from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    ProtocolError,
    ProviderError,
    ServerError,
    TruncatedStreamError,
)
from rxstream.messages import AssembledToolCall, Usage
from rxstream.tokens import (
    FinishReason,
    FunctionCall,
    Json,
    LogProbs,
    Media,
    RawEvent,
    ReasoningDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    TokenLogProb,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
    UsageReport,
)
from tests.dialects.reading import FIXTURES, Outcome, read
from tests.shared import SHARED, needs_shared


def wire(*lines: Json) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def said(**message: Json) -> Json:
    return {"model": "m", "message": {"role": "assistant", "content": "", **message}, "done": False}


def done(reason: str | None = "stop", **facts: Json) -> Json:
    named = {} if reason is None else {"done_reason": reason}
    return {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, **named, **facts}


def outcome(*lines: Json, raw_events: bool = False) -> Outcome:
    return read(OLLAMA_NATIVE, [wire(*lines)], raw_events=raw_events)


def tokens(*lines: Json) -> list[StreamToken]:
    """The tokens of a healthy stream, but for its start."""
    result = outcome(*lines)
    assert result.error is None
    assert result.tokens[0] == StreamStart(None, "m", NAME)
    return result.tokens[1:]


def fixture(name: str) -> Outcome:
    return read(OLLAMA_NATIVE, [Path(FIXTURES, NAME, f"{name}.ndjson").read_bytes()])


def test_a_chat_is_text_and_figures() -> None:
    result = fixture("text")

    assert result.tokens[:3] == [
        StreamStart(None, "own:1b", NAME),
        TextDelta("Hello"),
        TextDelta(" world — ça va ? 日本 😀"),
    ]
    assert result.message.usage == Usage(11, 7)
    assert result.message.usage_raw is not None
    assert result.message.usage_raw["eval_duration"] == 2500
    assert result.tokens[-1] == StreamEnd(FinishReason.STOP, "stop")


def test_everything_that_an_answer_may_hold() -> None:
    message = fixture("everything").message

    assert (message.reasoning, message.text) == ("Let me think.", "Look: now")
    assert message.media == [Media("image/png", b"\x89PNG\r\n\x1a\n, our own")]
    top = [TokenLogProb("now", -0.5)]
    assert message.logprobs == [TokenLogProb("now", -0.5, [110, 111, 119], top)]
    assert message.tool_calls == [
        AssembledToolCall("call_1", "look", {"at": "the sky", "n": [1, 2.5, None]}, None),
        AssembledToolCall(None, "wait", {}, None),
        AssembledToolCall(None, "go", {"to": "München"}, None),
    ]
    assert (message.reason, message.finish_reason) == (FinishReason.TOOL_CALLS, "stop")


def test_the_other_form_of_an_answer_is_read_too() -> None:
    message = fixture("generate").message

    assert (message.reasoning, message.text) == ("Hm.", "One two")
    assert (message.reason, message.usage) == (FinishReason.LENGTH, Usage(None, 2))


def test_a_call_comes_with_one_delta() -> None:
    call = {"id": "c", "function": {"index": 0, "name": "add", "arguments": {"a": 1}}}

    assert tokens(said(tool_calls=[call]), done()) == [
        ToolCallStart("call-0", "c", "add"),
        ToolCallDelta("call-0", '{"a":1}'),
        ToolCall("call-0", "c", FunctionCall("add", '{"a":1}')),
        StreamEnd(FinishReason.TOOL_CALLS, "stop"),
    ]


def test_calls_of_one_index_are_calls_of_their_own() -> None:
    call: Json = {"function": {"index": 0, "name": "add", "arguments": {}}}

    made = tokens(said(tool_calls=[call, call]), said(tool_calls=[call]), done())

    assert [token.key for token in made if isinstance(token, ToolCall)] == ["call-0", "call-1", "call-2"]


def test_a_call_without_a_name_is_not_one_to_run() -> None:
    made = tokens(said(tool_calls=[{"function": {"arguments": {"a": 1}}}, {"function": {"name": ""}}, {}]), done())

    assert made == [ToolCallTruncated("call-0", None, "", '{"a":1}'), StreamEnd(FinishReason.STOP, "stop")]


def test_text_thinking_and_the_end_may_share_a_line() -> None:
    line = {**said(content="b", thinking="a"), "done": True, "done_reason": "length", "eval_count": 2}

    assert tokens(line) == [
        ReasoningDelta("a"),
        TextDelta("b"),
        UsageReport(None, 2, raw={"eval_count": 2}),
        StreamEnd(FinishReason.LENGTH, "length"),
    ]


def test_the_last_line_may_hold_the_last_text() -> None:
    made = tokens(said(content="a"), {**said(content="b"), "done": True, "done_reason": "stop"})

    assert made == [TextDelta("a"), TextDelta("b"), StreamEnd(FinishReason.STOP, "stop")]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("load", FinishReason.OTHER),
        ("unload", FinishReason.OTHER),
        (None, FinishReason.OTHER),
    ],
)
def test_the_service_says_why_it_ended(word: str | None, reason: FinishReason) -> None:
    assert tokens(done(word)) == [StreamEnd(reason, word)]


def test_after_the_end_nothing_is_looked_at() -> None:
    result = read(OLLAMA_NATIVE, [wire(said(content="a"), done()) + b"no JSON\n" + wire(said(content="b"))])

    assert result.error is None
    assert result.message.text == "a"


def test_without_its_end_a_stream_was_cut() -> None:
    result = outcome(said(content="a"))

    assert isinstance(result.error, TruncatedStreamError)
    assert result.message.text == "a"


def test_an_error_in_mid_stream_is_the_servers_and_keeps_what_came() -> None:
    result = fixture("error")

    assert isinstance(result.error, ServerError)
    assert result.error.message == "an error was encountered while running the model"
    assert (result.error.kind, result.error.code, result.error.is_retryable) == (None, None, True)
    assert result.message.text == "Half an ans"


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ({"error": "m", "status_code": 503}, OverloadedError, "m"),
        ({"error": {"message": "m", "code": 404}}, NotFoundError, "m"),
        ({"error": 7}, ServerError, "the service gave up and did not say why"),
    ],
)
def test_an_error_may_say_more(line: Json, kind: type[ProviderError], message: str) -> None:
    result = outcome(line)

    assert isinstance(result.error, kind)
    assert result.error.message == message


def test_an_answer_beside_an_error_is_not_lost() -> None:
    result = outcome({**said(content="a"), "error": "m"})

    assert isinstance(result.error, ServerError)
    assert result.message.text == "a"


def test_odd_but_harmless_values_end_no_stream() -> None:
    result = fixture("odd")

    assert result.error is None
    assert result.message.text == "Odd but fine"
    assert result.message.usage == Usage(None, 3)
    assert result.message.model == "own:1b"


@pytest.mark.parametrize("nonsense", [b"hello\n", b"7\n", b"[]\n", b'{"message": "x"}\n', b"{\n"])
def test_nonsense_is_an_error_that_does_not_quote_it(nonsense: bytes) -> None:
    result = read(OLLAMA_NATIVE, [wire(said(content="a")) + nonsense])

    assert isinstance(result.error, ProtocolError)
    assert "hello" not in str(result.error)
    assert result.message.text == "a"


def test_a_line_without_a_rule_is_given_as_it_came_if_asked_for() -> None:
    result = outcome({"status": "pulling"}, done(), raw_events=True)

    assert result.tokens[0] == RawEvent("line", '{"status": "pulling"}')


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ("/9j/4AAQ", "image/jpeg"),
        ("R0lGODlh", "image/gif"),
        ("UklGRgAA", "image/webp"),
        ("AAAA", "application/octet-stream"),
    ],
)
def test_an_image_is_known_by_how_it_begins(start: str, kind: str) -> None:
    [media, _] = tokens({"model": "m", "image": start, "done": False}, done())

    assert isinstance(media, Media)
    assert media.media_type == kind


def test_log_probabilities_without_a_token_are_none() -> None:
    made = tokens({**said(content="a"), "logprobs": [{}]}, done())

    assert not any(isinstance(token, LogProbs) for token in made)


# --- Refusals ---


@needs_shared
def test_the_recorded_refusal_is_read() -> None:
    recorded = json.loads(Path(SHARED, "captures", "http-errors.json").read_bytes())
    [sheet] = [sheet for sheet in recorded if sheet["provider"] == "ollama"]

    error = OLLAMA_NATIVE.read_error(sheet["status"], sheet["headers"], sheet["body"].encode())

    assert type(error) is NotFoundError
    assert (error.kind, error.code, error.message) == (None, None, sheet["expect"]["message"])
    assert error.provider == NAME


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidRequestError), (401, AuthenticationError), (500, ServerError), (503, OverloadedError)],
)
def test_the_status_names_the_error(status: int, kind: type[ProviderError]) -> None:
    error = OLLAMA_NATIVE.read_error(status, {}, b'{"error":"m"}')

    assert type(error) is kind
    assert error.message == "m"


# --- Where the service is ---


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, None),
        ("", None),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":56789", "http://127.0.0.1:56789"),
        ("1.2.3.4:56789", "http://1.2.3.4:56789"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("https://example.com", "https://example.com:443"),
        ("example.com/path/", "http://example.com:11434/path"),
        ("https://example.com:56789/path", "https://example.com:56789/path"),
        ("[::1]", "http://[::1]:11434"),
        ("https://[::1]:5/path", "https://[::1]:5/path"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104  # what a server was told; nothing listens here
        ("[::]:5", "http://127.0.0.1:5"),
    ],
)
def test_the_host_is_read_as_ollama_reads_it(host: str | None, url: str | None) -> None:
    assert find_base_url({} if host is None else {"OLLAMA_HOST": host}) == url


@pytest.mark.parametrize("host", ["1.2.3.4:x", "[::1", "a:99999"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="OLLAMA_HOST"):
        find_base_url({"OLLAMA_HOST": host})


def test_the_vendors_client_goes_to_the_same_place() -> None:
    parse: Any = pytest.importorskip("ollama._client")._parse_host

    for host in ("1.2.3.4", ":56789", "https://example.com", "example.com/path/", "https://[::1]:5/path"):
        assert find_base_url({"OLLAMA_HOST": host}) == parse(host)


def test_a_local_server_needs_no_key() -> None:
    assert OLLAMA_NATIVE.base_url == "http://127.0.0.1:11434"
    assert not OLLAMA_NATIVE.needs_key
    assert OLLAMA_NATIVE.authorize("key") == {"authorization": "Bearer key"}


def test_models_are_listed_by_name() -> None:
    assert OLLAMA_NATIVE.read_models is not None
    assert OLLAMA_NATIVE.read_models(b'{"models": [{"name": "a:1b", "model": "a:1b"}]}').models == ["a:1b"]
