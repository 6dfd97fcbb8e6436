"""What HTTP answers say beside their body: refusals, waiting times, rate limits.

Shared by the dialects. Services agree on little here: an error is an object, a
string, a `detail` or a `message`; its code is a word, a number or a number in
quotes; in place of any of it a proxy may answer in HTML, or not at all. Content
types lie, so only the body is asked what it is. A message is what the service
said; a body that is not understood is named, never quoted.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import cast

from msgspec import Struct

from rxstream.dialect import ModelPage, RateLimits
from rxstream.dialects._values import as_count, as_list, as_objects, as_text, within
from rxstream.errors import ProtocolError, ProviderError, provider_error
from rxstream.framing.tolerant_json import read_json
from rxstream.surrogates import mend_value
from rxstream.tokens import Json

MAX_PLAIN_TEXT = 200
"""Characters: a plain-text body up to this length is taken for the service's own message."""

_MAY_SAY_WHEN = frozenset({408, 409, 429})  # and every 5xx; elsewhere `retry-after` says nothing about a retry
_SECONDS = re.compile(r"\d{1,15}(\.\d{1,15})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,30}", re.ASCII)
_DURATION_PART = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)(ms|us|µs|ns|d|h|m|s)", re.ASCII)
_MULTIPLES = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_FRACTIONS = {"ms": 1_000, "us": 1_000_000, "µs": 1_000_000, "ns": 1_000_000_000}


class Complaint(Struct, frozen=True):
    """What a service says is wrong, in its own words."""

    message: str | None = None
    kind: str | None = None
    code: str | int | None = None
    status: int | None = None
    """The HTTP status that the service names inside the body."""
    request_id: str | None = None


def read_refusal(
    provider: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    words: Mapping[str, type[ProviderError]],
    request_id_headers: Iterable[str],
    kind: str | None = None,
) -> ProviderError:
    """Return the error that an HTTP answer is.

    Header names are lower case. `words` maps the service's kinds and codes to classes; the status decides
    where they say nothing. `kind` is the kind of error where the service names it outside the body.
    `x-should-retry` goes over what the class says about a retry.
    """
    complaint = read_body(body)
    named = (headers[name] for name in request_id_headers if headers.get(name))
    error = provider_error(
        complaint.message or _explain(status, body),
        status=status,
        kind=kind or complaint.kind,
        code=complaint.code,
        words=words,
        provider=provider,
        request_id=next(named, complaint.request_id),
        retry_after=_retry_after(status, headers),
    )
    should_retry = headers.get("x-should-retry", "").strip().lower()
    if should_retry in {"true", "false"}:
        error.is_retryable = should_retry == "true"
    return error


def read_complaint(answer: Json) -> Complaint:
    """Return what the JSON of a refusal says, in whichever of the shapes that services use.

    The message is `None` where none of them fits.
    """
    if isinstance(answer, list):  # Gemini, asked without SSE
        answer = next(iter(as_list(answer)), None)
    if not isinstance(answer, dict):
        return Complaint(_text(answer))
    outer = cast(dict[str, Json], answer)
    inner = outer.get("error")
    if isinstance(inner, dict):
        return _complaint(cast(dict[str, Json], inner), outer)
    return _complaint(outer, outer, said=_text(inner))


def _complaint(error: dict[str, Json], outer: dict[str, Json], said: str | None = None) -> Complaint:
    """What the object `error` says, within the answer `outer`."""
    status = as_count(error.get("status_code"))
    return Complaint(
        message=said
        or _text(error.get("message"))
        or _text(error.get("Message"))  # parts of AWS
        or _text(error.get("detail"))
        or _problems(error.get("detail"))
        or _problems(outer.get("errors"))
        or _text(outer.get("message"))
        or _text(outer.get("detail")),
        kind=_kind(error),
        code=_code(error.get("code")),
        status=status if status in range(400, 600) else None,
        request_id=_text(outer.get("request_id")) or (_text(outer.get("id")) if "error" not in outer else None),
    )


def _kind(error: dict[str, Json]) -> str | None:
    kind = _text(error.get("type")) or _text(error.get("error_type")) or _text(error.get("status"))
    return None if kind == "error" else kind  # that says what the answer is, not what is wrong


def _code(code: Json) -> str | int | None:
    if isinstance(code, str):
        return code or None
    return as_count(code)


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and not value.isspace() and value else None


def _problems(problems: Json) -> str | None:
    """A list of problems, each a text or an object that says what and where, as one text."""
    return "; ".join(filter(None, map(_problem, as_list(problems)))) or None


def _problem(problem: Json) -> str | None:
    what = _text(problem) or _text(within(problem, "msg")) or _text(within(problem, "message"))
    place = ".".join(str(step) for step in as_list(within(problem, "loc")))
    return f"{place}: {what}" if what and place else what


def read_answer(body: bytes) -> Json:
    """Return the JSON of a body; `None` if it is none."""
    try:
        return mend_value(read_json(body))
    except (ProtocolError, RecursionError):
        return None


def read_body(body: bytes) -> Complaint:
    """Return what a body that is some kind of refusal says, as JSON or as a line of text."""
    answer = read_answer(body)
    return Complaint(_plain_text(body)) if answer is None else read_complaint(answer)


def _plain_text(body: bytes) -> str | None:
    """A body that is one short line of text; markup and JSON that broke off are not for people."""
    text = body[: MAX_PLAIN_TEXT * 4].decode("utf-8", "replace").strip()
    is_line = 0 < len(text) <= MAX_PLAIN_TEXT and len(body) <= MAX_PLAIN_TEXT * 4 and text.isprintable()
    return text if is_line and "\ufffd" not in text and not text.startswith(("<", "{", "[")) else None


def _explain(status: int, body: bytes) -> str:
    """The status in words, and what came in place of an explanation."""
    start = body.lstrip()[:200].lower()
    if not start:
        found = "the body was empty"
    elif start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        found = "the body was a web page, not an answer of this API"
    else:
        found = f"the body ({len(body)} bytes) was no error of this API"
    return f"{_phrase(status)}; {found}"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "the service is overloaded" if status == 529 else f"status {status}"


def _retry_after(status: int, headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, where the answer says so and its status means it; a wait of nothing says nothing."""
    if status not in _MAY_SAY_WHEN and status < 500:
        return None
    after_ms, after = headers.get("retry-after-ms", "").strip(), headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(after_ms) and float(after_ms) > 0:
        return float(after_ms) / 1000
    if _SECONDS.fullmatch(after):
        return float(after) or None
    then, now = _http_date(after), _http_date(headers.get("date", ""))
    if then is None or now is None:
        return None
    return max((then - now).total_seconds(), 0.0) or None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else None


def read_models(body: bytes) -> ModelPage:
    """Return the models of a list as services write it: objects with an id or a name, bare or as a member.

    Raises `ProtocolError` if the body is no such list.
    """
    return ModelPage(listed_models(read_answer(body)))


def listed_models(answer: Json) -> list[str]:
    """Return the names of the models in `answer`; raises `ProtocolError` if it is no list of any."""
    for place in (answer, within(answer, "data"), within(answer, "models")):
        if isinstance(place, list):
            rows = as_objects(cast(Json, place))
            return [name for row in rows if (name := as_text(row.get("id")) or as_text(row.get("name")))]
    raise ProtocolError("the answer is no list of models")


def read_number(body: bytes, name: str) -> int:
    """Return the count that the member `name` of an answer is; raises `ProtocolError` if there is none."""
    count = as_count(within(read_answer(body), name))
    if count is None:
        raise ProtocolError(f"the answer has no count {name!r}")
    return count


def read_limits(headers: Mapping[str, str]) -> RateLimits:
    """Return the rate limits that the `x-ratelimit-*` headers of OpenAI and its kin state.

    A reset is a duration such as `1m13.588s`; the bare numbers of Azure have no stated unit and are left
    to `details`.
    """
    return RateLimits(
        limit_requests=_whole(headers.get("x-ratelimit-limit-requests")),
        remaining_requests=_whole(headers.get("x-ratelimit-remaining-requests")),
        reset_requests_s=_duration(headers.get("x-ratelimit-reset-requests")),
        limit_tokens=_whole(headers.get("x-ratelimit-limit-tokens")),
        remaining_tokens=_whole(headers.get("x-ratelimit-remaining-tokens")),
        reset_tokens_s=_duration(headers.get("x-ratelimit-reset-tokens")),
        details=_limit_headers(headers),
    )


def read_anthropic_limits(headers: Mapping[str, str]) -> RateLimits:
    """Return the rate limits that the `anthropic-ratelimit-*` headers state; a reset is an RFC 3339 time."""
    return RateLimits(
        limit_requests=_whole(headers.get("anthropic-ratelimit-requests-limit")),
        remaining_requests=_whole(headers.get("anthropic-ratelimit-requests-remaining")),
        reset_requests_at=_moment(headers.get("anthropic-ratelimit-requests-reset")),
        limit_tokens=_whole(headers.get("anthropic-ratelimit-tokens-limit")),
        remaining_tokens=_whole(headers.get("anthropic-ratelimit-tokens-remaining")),
        reset_tokens_at=_moment(headers.get("anthropic-ratelimit-tokens-reset")),
        details=_limit_headers(headers),
    )


def read_mistral_limits(headers: Mapping[str, str]) -> RateLimits:
    """Return the rate limits that Mistral's headers state: of tokens, by the size of requests; resets in seconds."""
    return RateLimits(
        limit_requests=_whole(headers.get("x-ratelimit-limit-req-minute")),
        remaining_requests=_whole(headers.get("x-ratelimit-remaining-req-minute")),
        limit_tokens=_whole(headers.get("ratelimitbysize-limit") or headers.get("x-ratelimit-limit-tokens-minute")),
        remaining_tokens=_whole(
            headers.get("ratelimitbysize-remaining") or headers.get("x-ratelimit-remaining-tokens-minute")
        ),
        reset_tokens_s=_duration(f"{headers.get('ratelimitbysize-reset', '').strip()}s"),
        details=_limit_headers(headers),
    )


def read_cohere_limits(headers: Mapping[str, str]) -> RateLimits:
    """Return the rate limits that Cohere's headers state, which it does for trial keys."""
    return RateLimits(
        limit_requests=_whole(headers.get("x-trial-endpoint-call-limit")),
        remaining_requests=_whole(headers.get("x-trial-endpoint-call-remaining")),
        details={name: value for name, value in headers.items() if "-call-" in name},
    )


def _limit_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if "ratelimit" in name}


def _whole(text: str | None) -> int | None:
    """A count, exactly: services state limits beyond what a float holds."""
    return int(text) if text and _WHOLE.fullmatch(text.strip()) else None


def _duration(text: str | None) -> float | None:
    """Seconds of a duration such as `120ms` or `1m13.588s`; `None` for anything else, a bare number too."""
    parts = _DURATION_PART.findall(text or "")
    if not parts or "".join(number + unit for number, unit in parts) != (text or "").strip():
        return None
    return sum(
        float(number) * _MULTIPLES[unit] if unit in _MULTIPLES else float(number) / _FRACTIONS[unit]
        for number, unit in parts
    )


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return moment if moment.tzinfo else None
