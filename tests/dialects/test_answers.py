import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.dialect import RateLimits
from rxstream.dialects import dialect
from rxstream.dialects._answers import read_anthropic_limits, read_body, read_complaint, read_limits, read_refusal
from rxstream.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
)
from tests.shared import SHARED, needs_shared
from tests.strategies import json_values

WORDS: dict[str, type[ProviderError]] = {"no_credit": QuotaExceededError, "bad_key": AuthenticationError}
REFUSED = json.dumps({"error": {"message": "no", "type": "a_kind", "code": "a_code"}}).encode()

DIALECTS = {
    "anthropic": "anthropic.messages",
    "cohere": "cohere.v2",
    "gemini": "gemini.generate",
    "mistral": "mistral.chat",
    "ollama": "ollama.native",
}
"""The dialect that reads a provider's answers; `openai.chat` reads those of the other ones."""
OTHER_SHAPES = {"bedrock"}
"""Says in a header what others say in the body: a matter of its own dialect."""


def refusal(status: int = 400, body: bytes = REFUSED, **headers: str) -> ProviderError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_refusal("x.y", status, named, body, words=WORDS, request_id_headers=("x-request-id", "apim-request-id"))


def recorded(name: str) -> list[dict[str, Any]]:
    path = SHARED / "captures" / name
    return json.loads(path.read_bytes()) if path.exists() else []


def label(answer: dict[str, Any]) -> str:
    return f"{answer['provider']}-{answer.get('status', 'good')}"


REFUSALS = [answer for answer in recorded("http-errors.json") if answer["provider"] not in OTHER_SHAPES]


@needs_shared
@pytest.mark.parametrize("answer", REFUSALS, ids=label)
def test_recorded_refusals_give_what_they_state(answer: dict[str, Any]) -> None:
    expect = answer["expect"]
    reader = dialect(DIALECTS.get(answer["provider"], "openai.chat"))

    error = reader.read_error(answer["status"], answer["headers"], answer["body"].encode())

    assert error.status == expect["status"]
    assert (error.kind, error.code, error.message) == (expect["type"], expect["code"], expect["message"])
    assert error.request_id == expect["request_id"]


@needs_shared
@pytest.mark.parametrize(
    ("provider", "kind"),
    [
        ("openai", InvalidRequestError),
        ("anthropic", NotFoundError),
        ("deepseek", InvalidRequestError),
        ("xai", InvalidRequestError),  # 400: its text alone says that the key is wrong
        ("openrouter", AuthenticationError),
        ("perplexity", AuthenticationError),
    ],
)
def test_recorded_refusals_are_of_the_right_class(provider: str, kind: type[ProviderError]) -> None:
    [answer] = [answer for answer in REFUSALS if answer["provider"] == provider]
    reader = dialect(DIALECTS.get(provider, "openai.chat"))

    error = reader.read_error(answer["status"], answer["headers"], answer["body"].encode())

    assert type(error) is kind
    assert error.provider == reader.name
    assert error.request_id == answer["expect"]["request_id"]
    assert not error.is_retryable


@needs_shared
def test_azure_refuses_with_a_missing_deployment_and_with_a_rate() -> None:
    missing, limited = [
        dialect("openai.chat").read_error(answer["status"], answer["headers"], answer["body"].encode())
        for answer in REFUSALS
        if answer["provider"] == "azure"
    ]

    assert type(missing) is NotFoundError
    assert type(limited) is RateLimitedError
    assert limited.is_retryable
    assert limited.retry_after == 1  # `retry-after-ms` is 0 beside it


@needs_shared
@pytest.mark.parametrize("answer", recorded("headers.json"), ids=label)
def test_recorded_headers_give_the_limits_that_they_state(answer: dict[str, Any]) -> None:
    expect = dict(answer["expect"])
    reader = dialect(DIALECTS.get(answer["provider"], "openai.chat"))
    for name in ("reset_requests_at", "reset_tokens_at"):
        if name in expect:
            expect[name] = datetime.fromisoformat(expect[name])

    limits = reader.read_limits(answer["headers"])
    named = [answer["headers"][name] for name in reader.request_id_headers if name in answer["headers"]]

    assert next(iter(named), None) == expect.pop("request_id")
    assert {name: getattr(limits, name) for name in expect} == expect


@given(st.integers(400, 599), st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_refusal_with_a_message(status: int, body: bytes) -> None:
    error = refusal(status, body)

    assert error.status == status
    assert error.message
    assert error.provider == "x.y"


@pytest.mark.parametrize(
    ("body", "message", "kind", "code"),
    [
        ({"error": {"message": "m", "type": "k", "code": "c"}}, "m", "k", "c"),
        ({"error": {"message": "m", "type": None, "code": None}}, "m", None, None),
        ({"error": {"message": "m", "code": 401}}, "m", None, 401),
        ({"error": {"message": "m", "code": 401.0}}, "m", None, 401),
        ({"error": {"message": "m", "code": "401"}}, "m", None, "401"),
        ({"error": {"message": "m", "code": True}}, "m", None, None),
        ({"error": {"message": "m", "status": "INVALID", "code": 400}}, "m", "INVALID", 400),
        ([{"error": {"message": "m", "status": "INVALID"}}], "m", "INVALID", None),
        ({"type": "error", "error": {"type": "k", "message": "m"}}, "m", "k", None),
        ({"error": "m"}, "m", None, None),
        ({"error": "m", "code": "c"}, "m", None, "c"),
        ({"error": {"code": "c"}, "message": "m"}, "m", None, "c"),
        ({"detail": "outer", "error": {"message": "m"}}, "m", None, None),
        ({"detail": "m"}, "m", None, None),
        ({"detail": [{"loc": ["body", 0, "x"], "msg": "bad"}, "worse", 7]}, "body.0.x: bad; worse", None, None),
        ({"errors": [{"code": 1, "message": "bad"}]}, "bad", None, None),
        ({"message": "m", "error_type": "k"}, "m", "k", None),
        ({"object": "error", "message": "m", "type": "k", "code": 400}, "m", "k", 400),
        ("m", "m", None, None),
    ],
)
def test_every_shape_of_an_error_body_is_read(
    body: Any, message: str, kind: str | None, code: str | int | None
) -> None:
    complaint = read_body(json.dumps(body).encode())

    assert (complaint.message, complaint.kind, complaint.code) == (message, kind, code)


@pytest.mark.parametrize("body", [{}, [], {"error": {}}, {"error": None}, {"error": ["m"]}, {"message": " "}, 7, None])
def test_a_body_that_says_nothing_has_no_message(body: Any) -> None:
    assert read_complaint(body).message is None


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            502,
            b"<html><body>Bad Gateway</body></html>",
            "Bad Gateway; the body was a web page, not an answer of this API",
        ),
        (500, b"\n<!DOCTYPE html>", "Internal Server Error; the body was a web page, not an answer of this API"),
        (401, b"", "Unauthorized; the body was empty"),
        (529, b"  ", "the service is overloaded; the body was empty"),
        (499, b"{}", "status 499; the body (2 bytes) was no error of this API"),
        (400, b'{"error": {"mess', "Bad Request; the body (16 bytes) was no error of this API"),
        (400, b"\xff\xfe", "Bad Request; the body (2 bytes) was no error of this API"),
        (400, b"x" * 2_000, "Bad Request; the body (2000 bytes) was no error of this API"),
        (400, b"[" * 100_000, "Bad Request; the body (100000 bytes) was no error of this API"),
        (503, b"no healthy upstream\n", "no healthy upstream"),
    ],
)
def test_a_body_that_is_not_understood_is_named_but_not_quoted(status: int, body: bytes, message: str) -> None:
    assert refusal(status, body).message == message


@pytest.mark.parametrize(
    ("status", "kind", "is_retryable"),
    [
        (400, InvalidRequestError, False),
        (401, AuthenticationError, False),
        (402, QuotaExceededError, False),
        (404, NotFoundError, False),
        (408, InvalidRequestError, True),
        (409, InvalidRequestError, True),
        (429, RateLimitedError, True),
        (500, ServerError, True),
        (503, OverloadedError, True),
        (529, OverloadedError, True),
    ],
)
def test_the_status_says_what_the_words_do_not(status: int, kind: type[ProviderError], is_retryable: bool) -> None:
    error = refusal(status)

    assert type(error) is kind
    assert error.is_retryable is is_retryable


def test_the_words_of_a_service_go_before_the_status() -> None:
    body = json.dumps({"error": {"message": "pay", "type": "a_kind", "code": "no_credit"}}).encode()

    error = refusal(429, body)

    assert type(error) is QuotaExceededError
    assert not error.is_retryable


@pytest.mark.parametrize(
    ("said", "status", "is_retryable"), [("true", 400, True), ("False", 500, False), ("?", 500, True)]
)
def test_the_service_may_say_itself_whether_to_retry(said: str, status: int, is_retryable: bool) -> None:
    assert refusal(status, x_should_retry=said).is_retryable is is_retryable


def test_the_request_id_is_the_first_named_header_or_in_the_body() -> None:
    body = json.dumps({"error": {"message": "m"}, "request_id": "of the body", "id": "of something else"}).encode()

    assert refusal(apim_request_id="second", x_request_id="first").request_id == "first"
    assert refusal(body=body, apim_request_id="second", x_request_id="").request_id == "second"
    assert refusal(body=body).request_id == "of the body"
    assert refusal(body=b'{"message": "m", "id": "of the body"}').request_id == "of the body"
    assert refusal().request_id is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "2"}, 2),
        ({"retry_after": " 0.5 "}, 0.5),
        ({"retry_after": "9", "retry_after_ms": "1500.5"}, 1.5005),
        ({"retry_after": "1", "retry_after_ms": "0"}, 1),
        ({"retry_after": "0"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "1e9"}, None),
        ({"retry_after": "soon", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:27:18 GMT"}, 42),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:29:00 GMT"}, None),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),  # relative to what? there is no clock here
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 -0000", "date": "Wed, 21 Oct 2026 07:27:18 GMT"}, None),
        ({"retry_after": "Wed, 99 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:27:18 GMT"}, None),
    ],
)
def test_the_service_says_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert refusal(429, REFUSED, **headers).retry_after == seconds


@pytest.mark.parametrize(
    ("status", "seconds"),
    [(400, None), (401, None), (404, None), (408, 3), (409, 3), (429, 3), (500, 3), (529, 3)],
)
def test_a_waiting_time_counts_only_where_the_status_means_it(status: int, seconds: float | None) -> None:
    assert refusal(status, retry_after="3").retry_after == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120ms", 0.12),
        ("42ms", 0.042),
        ("8.64s", 8.64),
        ("6s", 6),
        ("0s", 0),
        ("1m13.588s", 73.588),
        ("20m52.666s", 1252.666),
        ("1h0m2s", 3602),
        ("2d", 172_800),
        ("500µs", 0.0005),
        ("0", None),
        ("500", None),
        ("", None),
        ("s", None),
        ("1m 2s", None),
        ("-1s", None),
        ("2026-01-01T00:00:00Z", None),
    ],
)
def test_a_reset_is_a_duration_or_its_unit_is_unknown(text: str, seconds: float | None) -> None:
    limits = read_limits({"x-ratelimit-reset-requests": text, "x-ratelimit-reset-tokens": text})

    assert limits.reset_requests_s == (None if seconds is None else pytest.approx(seconds, rel=1e-12))
    assert limits.reset_tokens_s == limits.reset_requests_s


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("9223372036854767616", 9_223_372_036_854_767_616),
        ("0", 0),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
    ],
)
def test_counts_are_exact_or_unknown(text: str, count: int | None) -> None:
    assert read_limits({"x-ratelimit-limit-tokens": text}).limit_tokens == count
    assert read_anthropic_limits({"anthropic-ratelimit-requests-remaining": text}).remaining_requests == count


def test_anthropic_gives_points_in_time() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-reset": "2025-07-03T18:18:16Z",
        "anthropic-ratelimit-tokens-remaining": "7",
        "anthropic-ratelimit-tokens-reset": "2025-07-03T18:18:16",  # where?
        "anthropic-ratelimit-input-tokens-limit": "9",
        "request-id": "r",
    }

    limits = read_anthropic_limits(headers)

    assert limits == RateLimits(
        limit_requests=50,
        reset_requests_at=datetime(2025, 7, 3, 18, 18, 16, tzinfo=UTC),
        remaining_tokens=7,
        details={name: value for name, value in headers.items() if name != "request-id"},
    )


@given(st.text(), st.text())
def test_no_header_breaks_the_readers(first: str, second: str) -> None:
    names = ["limit", "remaining", "reset"]
    kin = {f"x-ratelimit-{name}-{what}": first for name in names for what in ("requests", "tokens")}
    anthropic = {f"anthropic-ratelimit-{what}-{name}": first for name in names for what in ("requests", "tokens")}

    assert read_limits(kin).details == kin
    assert read_anthropic_limits(anthropic).details == anthropic
    assert refusal(429, retry_after=first, retry_after_ms=second, date=second, x_should_retry=first).status == 429
