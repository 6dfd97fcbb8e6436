"""What Gemini sends, case by case; what holds for every dialect is in `test_laws` and `test_captures`."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rxstream.dialects import dialect
from rxstream.dialects.gemini_generate import GEMINI_GENERATE, NAME, find_base_url, read_models
from rxstream.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    ProtocolError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    TruncatedStreamError,
)
from rxstream.messages import AssembledToolCall, ReasoningPart, TextPart, ToolCallPart, Usage
from rxstream.tokens import (
    Citation,
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


def wire(*events: Json) -> bytes:
    return b"".join(b"data: %b\r\n\r\n" % json.dumps(event).encode() for event in events)


def answer(*parts: Json, end: str | None = None, index: int = 0, **more: Json) -> Json:
    """An event with one candidate."""
    finish = {} if end is None else {"finishReason": end}
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, "index": index, **finish, **more}]}


def outcome(*events: Json, raw_events: bool = False) -> Outcome:
    return read(GEMINI_GENERATE, [wire(*events)], raw_events=raw_events)


def tokens(*events: Json) -> list[StreamToken]:
    """The tokens of a healthy stream, but for its start."""
    result = outcome(*events)
    assert result.error is None
    assert isinstance(result.tokens[0], StreamStart)
    return result.tokens[1:]


def fixture(name: str, *, raw_events: bool = False) -> Outcome:
    return read(GEMINI_GENERATE, [Path(FIXTURES, NAME, f"{name}.sse").read_bytes()], raw_events=raw_events)


def text(said: str, **more: Json) -> Json:
    return {"text": said, **more}


def called(**facts: Json) -> Json:
    return {"functionCall": facts}


STOP = answer(text(""), end="STOP")


def test_a_stream_begins_with_who_answers_and_ends_with_why() -> None:
    result = fixture("text")

    assert result.tokens[0] == StreamStart("own-1", "gemini-own", NAME)
    assert result.tokens[-1] == StreamEnd(FinishReason.STOP, "STOP")
    assert result.message.text == "Hello world — ça va ? 日本 😀!"
    assert result.message.usage == Usage(5, 7, total_tokens=12)


def test_everything_that_an_answer_may_hold() -> None:
    message = fixture("everything").message

    assert message.reasoning == "**Thinking** about it.\n\nMore of it."
    assert message.text == "Signed. Plain. After the calls."
    assert message.media == [Media("image/png", b"\x89PNG\r\n\x1a\n, our own", index=3)]
    assert message.tool_calls == [
        AssembledToolCall("c1", "look", {"at": "the sky", "n": [1, 2.5, None]}, None),
        AssembledToolCall(None, "wait", {}, None),
    ]
    assert message.reason is FinishReason.TOOL_CALLS
    assert message.finish_reason == "STOP"
    assert message.usage == Usage(20, 30, 12, 4, total_tokens=62)
    assert message.usage_raw is not None
    assert message.usage_raw["toolUsePromptTokenCount"] == 3


def test_signatures_stand_before_what_they_sign_and_keep_it_apart() -> None:
    assert fixture("everything").message.parts == [
        ReasoningPart("**Thinking** about it.\n\nMore of it."),
        ReasoningPart("", "c2lnbmVkLTE="),
        TextPart("Signed. "),
        TextPart("Plain. "),
        ReasoningPart("", "c2lnbmVkLTI="),
        ToolCallPart("c1", "look", '{"at":"the sky","n":[1,2.5,null]}'),
        ToolCallPart(None, "wait", "{}"),
        TextPart("After the calls."),
        ReasoningPart("", "c2lnbmVkLTM="),
    ]


def test_a_signed_thought_bears_its_signature_itself() -> None:
    made = tokens(
        answer(text("Hm", thought=True, thoughtSignature="c2ln"), text("m.", thought=True)),
        answer(text("So."), end="STOP"),
    )

    assert made[:3] == [ReasoningDelta("Hm", 0, 0, "c2ln"), ReasoningDelta("m.", 1), TextDelta("So.", 2)]


def test_what_is_signed_and_what_stands_behind_a_call_are_blocks_of_their_own() -> None:
    made = tokens(
        answer(text("a")),
        answer(text("b", thoughtSignature="c2ln")),
        answer(text("c"), called(name="f"), text("d")),
        answer(text("e"), end="STOP"),
    )

    assert made[:4] == [TextDelta("a", 0), ReasoningDelta("", 1, 0, "c2ln"), TextDelta("b", 1), TextDelta("c", 2)]
    assert made[-3:-1] == [TextDelta("d", 3), TextDelta("e", 3)]


def test_sources_are_named_once_with_where_they_are_used() -> None:
    cited = [
        (citation.url, citation.title, citation.text, citation.start, citation.end)
        for citation in fixture("everything").message.citations
    ]

    assert cited == [
        ("https://example.org/poem", None, None, 0, 7),
        ("https://example.org/a", "A", None, 0, 7),
        ("doc-1", "B", "words", 0, 7),
        ("https://example.org/a", "A", None, 8, 14),
        ("https://example.org/unused", None, None, None, None),
    ]


def test_supports_may_come_after_their_sources() -> None:
    chunks = [{"maps": {"uri": "https://example.org/map", "title": "M"}}]
    supports = [{"segment": {"endIndex": 2}, "groundingChunkIndices": [0]}]

    made = tokens(
        answer(text("Hi"), groundingMetadata={"groundingChunks": chunks}),
        answer(text("!"), groundingMetadata={"groundingSupports": supports}),
        answer(text(""), end="STOP", groundingMetadata={"groundingChunks": chunks}),
    )

    raw = chunks[0] | supports[0]
    assert [token for token in made if isinstance(token, Citation)] == [
        Citation(url="https://example.org/map", title="M", raw=chunks[0]),
        Citation(url="https://example.org/map", title="M", start=0, end=2, raw=raw),
    ]


def test_log_probabilities_come_with_the_likely_ones() -> None:
    [logprobs] = [token for token in fixture("everything").tokens if isinstance(token, LogProbs)]

    likely = [TokenLogProb("Signed", -0.1), TokenLogProb("Sign", -2.5)]
    assert logprobs.content == [TokenLogProb("Signed", -0.1, top=likely), TokenLogProb(".", -0.25)]


def test_what_no_rule_maps_is_given_as_it_came_if_asked_for() -> None:
    raw = [token for token in fixture("everything", raw_events=True).tokens if isinstance(token, RawEvent)]

    assert [event.event for event in raw] == ["executableCode", "codeExecutionResult", "groundingMetadata"]
    assert not any(isinstance(token, RawEvent) for token in fixture("everything").tokens)
    assert json.loads(raw[0].data) == {"language": "PYTHON", "code": "print(1)", "id": "x1"}


def test_half_a_character_in_what_is_given_as_it_came_is_mended() -> None:
    result = outcome(answer(text("So."), end="STOP", groundingMetadata={"query": "\ude00"}), raw_events=True)

    assert result.error is None
    assert RawEvent("groundingMetadata", '{"query":"\ufffd"}') in result.tokens


def test_an_image_that_is_a_thought_is_no_part_of_the_answer() -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}

    result = outcome(answer({**image, "thought": True}), STOP, raw_events=True)

    assert result.message.media == []
    assert [token.event for token in result.tokens if isinstance(token, RawEvent)] == ["inlineData"]


def test_base_64_of_either_alphabet_is_read() -> None:
    made = tokens(
        answer(
            {"inlineData": {"mimeType": "a/b", "data": "-_-_"}}, {"inlineData": {"mimeType": "a/b", "data": "+/+/"}}
        ),
        STOP,
    )

    assert [token.data for token in made if isinstance(token, Media)] == [base64.b64decode("+/+/")] * 2


def test_an_event_without_a_rule_is_given_as_it_came() -> None:
    result = outcome({"somethingNew": 1}, STOP, raw_events=True)

    assert result.tokens[0] == RawEvent("message", '{"somethingNew": 1}')


def test_a_whole_call_comes_with_one_delta() -> None:
    made = tokens(answer(called(name="add", args={"a": 1}, id="c1")), STOP)

    assert made[:3] == [
        ToolCallStart("call-0", "c1", "add"),
        ToolCallDelta("call-0", '{"a":1}'),
        ToolCall("call-0", "c1", FunctionCall("add", '{"a":1}')),
    ]
    assert made[-1] == StreamEnd(FinishReason.TOOL_CALLS, "STOP")


def test_arguments_in_pieces_grow_as_text() -> None:
    result = fixture("streamed-arguments")

    cook = {
        "recipe": {
            "name": 'Lasagne "verde" 日本',
            "steps": [{"text": "Boil.", "minutes": 8.5}, {"text": "Eat."}],
            "to taste": True,
        },
        "servings": 4,
        "note": None,
    }
    assert [(call.name, call.arguments, call.arguments_raw) for call in result.message.tool_calls] == [
        ("cook", cook, None),
        ("ring", {}, None),
        ("serve", {"to": "all"}, None),
    ]
    grown = "".join(t.arguments for t in result.tokens if isinstance(t, ToolCallDelta) and t.key == "call-0")
    assert json.loads(grown) == cook
    assert ToolCallDelta("call-0", 'agne \\"verde\\" 日本') in result.tokens


def test_the_next_name_closes_a_call_that_is_open() -> None:
    made = tokens(
        answer(called(name="a", willContinue=True)),
        answer(called(partialArgs=[{"jsonPath": "$.x", "stringValue": "y", "willContinue": True}], willContinue=True)),
        answer(called(name="b", args={})),
        STOP,
    )

    assert [(t.function.name, t.function.arguments) for t in made if isinstance(t, ToolCall)] == [
        ("a", '{"x":"y"}'),
        ("b", "{}"),
    ]


def test_closing_what_is_closed_says_nothing() -> None:
    made = tokens(answer(called()), answer(called(name="f", args={})), answer(called()), STOP)

    assert [type(token) for token in made] == [ToolCallStart, ToolCallDelta, ToolCall, StreamEnd]


def test_a_call_that_a_limit_cut_is_not_one_to_run() -> None:
    result = fixture("cut-in-arguments")

    assert result.error is None
    assert ToolCallTruncated("call-0", None, "cook", '{"recipe":{"name":"Las') in result.tokens
    assert result.tokens[-1] == StreamEnd(FinishReason.LENGTH, "MAX_TOKENS")


@pytest.mark.parametrize("end", ["MAX_TOKENS", "MALFORMED_FUNCTION_CALL", "SAFETY", "SOMETHING_NEW"])
def test_a_call_without_arguments_yet_is_cut_by_any_end_but_stop(end: str) -> None:
    made = tokens(answer(called(name="cook", willContinue=True)), answer(text(""), end=end))

    assert [type(token) for token in made[:2]] == [ToolCallStart, ToolCallTruncated]


def test_a_call_that_begins_after_the_end_of_its_candidate_is_cut() -> None:
    made = tokens(STOP, answer(called(name="look", willContinue=True)))

    assert made == [
        ToolCallStart("call-0", None, "look"),
        ToolCallTruncated("call-0", None, "look", ""),
        StreamEnd(FinishReason.STOP, "STOP"),
    ]


def test_a_call_without_a_name_is_not_one_to_run() -> None:
    made = tokens(answer(called(args={"a": 1})), STOP)

    assert made[0] == ToolCallTruncated("call-0", None, "", '{"a":1}')
    assert made[-1] == StreamEnd(FinishReason.STOP, "STOP")


def test_leaves_out_of_order_still_make_the_right_call() -> None:
    places = {"$.a.x": 1, "$.b": 2, "$.a.y": 3}
    pieces = [
        called(partialArgs=[{"jsonPath": path, "numberValue": n}], willContinue=True) for path, n in places.items()
    ]

    message = outcome(answer(called(name="f", willContinue=True)), answer(*pieces), answer(called()), STOP).message

    assert [(call.arguments, call.arguments_raw) for call in message.tool_calls] == [
        ({"a": {"x": 1, "y": 3}, "b": 2}, None)
    ]


def test_arguments_that_go_on_after_they_were_whole_are_nonsense() -> None:
    leaf = {"jsonPath": "$.b", "numberValue": 1}

    result = outcome(answer(called(name="f", args={"a": 1}, willContinue=True)), answer(called(partialArgs=[leaf])))

    assert isinstance(result.error, ProtocolError)
    assert [call.arguments for call in result.message.tool_calls] == [None]


def test_usage_that_an_event_leaves_out_stays_as_it_was() -> None:
    made = tokens(
        {**answer(text("a")), "usageMetadata": {"trafficType": "ON_DEMAND"}},
        {**answer(text("b")), "usageMetadata": {"promptTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 5}},
        {
            **answer(text("c")),
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": None},
        },
        {**STOP, "usageMetadata": {"trafficType": "ON_DEMAND"}},
    )

    reports = [
        (t.input_tokens, t.output_tokens, t.reasoning_tokens, t.total_tokens)
        for t in made
        if isinstance(t, UsageReport)
    ]
    assert reports == [(3, None, 2, 5), (3, 4, 2, 5)]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("RECITATION", FinishReason.CONTENT_FILTER),
        ("IMAGE_SAFETY", FinishReason.CONTENT_FILTER),
        ("MALFORMED_FUNCTION_CALL", FinishReason.ERROR),
        ("FINISH_REASON_UNSPECIFIED", FinishReason.OTHER),
        ("SOMETHING_NEW", FinishReason.OTHER),
    ],
)
def test_the_service_says_why_it_ended(word: str, reason: FinishReason) -> None:
    assert tokens(answer(text("Hi"), end=word))[-1] == StreamEnd(reason, word)


def test_of_several_reasons_the_last_one_counts() -> None:
    made = tokens(answer(text("a"), end="STOP"), answer(text("b"), end="MAX_TOKENS"))

    assert made == [TextDelta("a"), TextDelta("b"), StreamEnd(FinishReason.LENGTH, "MAX_TOKENS")]


def test_a_filter_that_stopped_the_answer_says_what_it_found() -> None:
    result = fixture("safety")

    assert result.message.text == "Well, "
    assert result.tokens[-1] == StreamEnd(
        FinishReason.CONTENT_FILTER,
        "SAFETY",
        details={
            "finishMessage": "It was not safe.",
            "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}],
        },
    )


def test_a_blocked_prompt_is_the_end_of_an_answer_that_never_began() -> None:
    result = fixture("blocked")

    assert result.error is None
    [start, usage, end] = result.tokens
    assert start == StreamStart(None, "gemini-own", NAME)
    assert isinstance(usage, UsageReport)
    assert isinstance(end, StreamEnd)
    assert (end.reason, end.raw_reason) == (FinishReason.CONTENT_FILTER, None)
    assert end.details is not None
    assert end.details["blockReason"] == "PROHIBITED_CONTENT"


def test_feedback_without_a_reason_blocks_nothing() -> None:
    assert isinstance(outcome({"promptFeedback": {"safetyRatings": []}}).error, TruncatedStreamError)


def test_every_candidate_ends() -> None:
    result = fixture("two-candidates")

    assert [(choice.text, choice.finish_reason) for choice in result.message.choices] == [
        ("One two", "STOP"),
        ("Eins zwei", "MAX_TOKENS"),
    ]


def test_a_candidate_without_a_reason_was_cut() -> None:
    result = outcome(answer(text("a"), end="STOP"), answer(text("b"), index=1))

    assert isinstance(result.error, TruncatedStreamError)
    assert result.message.text == "a"


def test_the_reason_of_the_first_candidate_is_known_even_if_the_stream_breaks() -> None:
    result = outcome(answer(text("a"), end="STOP"), answer(text("b"), index=1, end="MAX_TOKENS"), answer(index=2))

    assert result.error is not None
    assert result.message.finish_reason == "STOP"


def test_an_error_in_mid_stream_comes_after_what_was_good() -> None:
    result = fixture("error")

    assert isinstance(result.error, OverloadedError)
    assert (result.error.code, result.error.kind, result.error.message) == (
        503,
        "UNAVAILABLE",
        "The model is overloaded [sic].",
    )
    assert result.error.retry_after == 1.5
    assert result.message.text == "First second"


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}\n\n',
        b'data: [{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}]\n\n',
        b'[{\n  "error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}\n}]\n',
        b'{"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}\n',
        b'event: error\ndata: {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}\n\n',
    ],
)
def test_every_form_of_an_error_is_heard(body: bytes) -> None:
    result = read(GEMINI_GENERATE, [wire(answer(text("a"))), body])

    assert isinstance(result.error, RateLimitedError)
    assert (result.error.code, result.error.message) == (429, "m")
    assert result.message.text == "a"


def test_an_answer_beside_an_error_is_not_lost() -> None:
    result = outcome({**answer(text("a")), "error": {"code": 500, "message": "m", "status": "INTERNAL"}})

    assert isinstance(result.error, ServerError)
    assert result.message.text == "a"


def test_a_body_that_is_no_stream_of_events_is_told() -> None:
    result = read(GEMINI_GENERATE, [json.dumps([answer(text("a"), end="STOP")], indent=1).encode()])

    assert isinstance(result.error, ProtocolError)
    assert "alt=sse" in str(result.error)


@pytest.mark.parametrize(
    "noise", [b"data:\n\n", b"data: [DONE]\n\n", b"<p>hello</p>\n\n", b": comment\n\n", b"[7]\n\n"]
)
def test_what_says_nothing_is_skipped(noise: bytes) -> None:
    result = read(GEMINI_GENERATE, [wire(answer(text("a"))) + noise + wire(STOP)])

    assert result.error is None
    assert result.message.text == "a"


def test_odd_but_harmless_values_end_no_stream() -> None:
    result = fixture("odd")

    assert result.error is None
    assert result.message.text == "Odd but fine"
    assert result.message.usage == Usage(12)
    assert result.tokens[-1] == StreamEnd(FinishReason.OTHER, "BORED")


# --- Refusals ---


def refused(status: int, word: str, *details: Json, headers: Mapping[str, str] | None = None) -> ProviderError:
    body = {"error": {"code": status, "message": "m", "status": word, "details": list(details)}}
    return GEMINI_GENERATE.read_error(status, headers or {}, json.dumps(body, indent=2).encode())


@needs_shared
def test_the_recorded_refusal_of_a_wrong_key_is_about_the_key() -> None:
    recorded = json.loads(Path(SHARED, "captures", "http-errors.json").read_bytes())
    [sheet] = [sheet for sheet in recorded if sheet["provider"] == "gemini"]

    error = GEMINI_GENERATE.read_error(sheet["status"], sheet["headers"], sheet["body"].encode())

    assert type(error) is AuthenticationError
    assert (error.status, error.kind, error.code) == (400, "INVALID_ARGUMENT", 400)
    assert error.message == sheet["expect"]["message"]
    assert error.request_id is None


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (400, "INVALID_ARGUMENT", InvalidRequestError),
        (400, "FAILED_PRECONDITION", InvalidRequestError),
        (401, "UNAUTHENTICATED", AuthenticationError),
        (404, "NOT_FOUND", NotFoundError),
        (429, "RESOURCE_EXHAUSTED", RateLimitedError),
        (503, "UNAVAILABLE", OverloadedError),
        (504, "DEADLINE_EXCEEDED", ServerError),
        (500, "SOMETHING_NEW", ServerError),
    ],
)
def test_the_word_of_the_service_names_the_error(status: int, word: str, kind: type[ProviderError]) -> None:
    error = refused(status, word)

    assert type(error) is kind
    assert error.provider == NAME


def test_a_reason_says_more_than_the_word() -> None:
    assert type(refused(403, "PERMISSION_DENIED", {"reason": "BILLING_DISABLED"})) is QuotaExceededError
    assert type(refused(400, "INVALID_ARGUMENT", {"reason": "SOMETHING_NEW"})) is InvalidRequestError


@pytest.mark.parametrize(
    ("delay", "seconds"), [("48s", 48), ("1.5s", 1.5), ("0s", None), ("soon", None), (7, None), ("-1s", None)]
)
def test_the_details_say_how_long_to_wait(delay: Json, seconds: float | None) -> None:
    error = refused(429, "RESOURCE_EXHAUSTED", {"@type": "google.rpc.RetryInfo", "retryDelay": delay})

    assert error.retry_after == seconds
    assert error.is_retryable


def test_a_header_that_says_so_goes_first() -> None:
    assert refused(429, "RESOURCE_EXHAUSTED", {"retryDelay": "48s"}, headers={"retry-after": "2"}).retry_after == 2


# --- Where the service is, and what it offers ---


def test_how_the_service_is_reached() -> None:
    assert GEMINI_GENERATE.authorize("key") == {"x-goog-api-key": "key"}
    assert GEMINI_GENERATE.base_url == "https://generativelanguage.googleapis.com/v1beta"
    assert GEMINI_GENERATE.key_variable == "GEMINI_API_KEY"
    assert find_base_url({"GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:8/"}) == "http://127.0.0.1:8/v1beta"
    assert find_base_url({}) is None


def test_models_come_in_pages_and_without_where_they_are() -> None:
    first = {"models": [{"name": "models/gemini-a"}, {"name": "models/gemini-b"}], "nextPageToken": "a/b="}

    page = read_models(json.dumps(first).encode())

    assert page.models == ["gemini-a", "gemini-b"]
    assert page.next_path == "/models?pageSize=1000&pageToken=a%2Fb%3D"
    assert read_models(b'{"models": []}').next_path is None


def test_the_count_of_tokens_is_read() -> None:
    assert GEMINI_GENERATE.read_count is not None
    assert GEMINI_GENERATE.read_count(b'{"totalTokens": 31, "promptTokensDetails": []}') == 31


VERTEX: Any = dialect("vertex")


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"GOOGLE_CLOUD_LOCATION": "us-central1"}, None),
        (
            {"GOOGLE_CLOUD_PROJECT": "p"},
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google",
        ),
        (
            {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "eu"},
            "https://aiplatform.eu.rep.googleapis.com/v1/projects/p/locations/eu/publishers/google",
        ),
        (
            {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "europe-west4"},
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4/publishers/google",
        ),
    ],
)
def test_vertex_lives_where_the_environment_says(environment: dict[str, str], url: str | None) -> None:
    assert VERTEX.find_base_url(environment) == url


def test_vertex_takes_a_token_and_lists_its_models_for_all_projects() -> None:
    home = "https://europe-west4-aiplatform.googleapis.com"
    listed = b'{"publisherModels": [{"name": "publishers/google/models/gemini-a"}]}'

    assert VERTEX.authorize("ya29") == {"authorization": "Bearer ya29"}
    assert VERTEX.authorize("AIzaSy") == {"x-goog-api-key": "AIzaSy"}
    assert (
        VERTEX.models_base_url(f"{home}/v1/projects/p/locations/l/publishers/google")
        == f"{home}/v1beta1/publishers/google"
    )
    assert VERTEX.models_base_url(f"{home}/v1/publishers/google") == f"{home}/v1beta1/publishers/google"
    assert VERTEX.models_base_url("http://127.0.0.1:8/v1beta") == "http://127.0.0.1:8/v1beta"
    assert VERTEX.read_models(listed).models == ["gemini-a"]


def test_vertex_goes_by_its_own_name() -> None:
    result = read(VERTEX, [wire(answer(text("a")))])

    assert result.tokens[0] == StreamStart(None, None, "vertex")
    assert result.error is not None
    assert result.error.provider == "vertex"
    assert VERTEX.read_error(500, {}, b"{}").provider == "vertex"
