"""What the APIs of OpenAI have in common, and with them those that took them over."""

import math
from collections.abc import Mapping
from typing import cast

from rxstream.dialects._answers import read_answer, read_body, read_complaint
from rxstream.dialects._values import as_count, as_list, as_objects, as_text, passed_on, within
from rxstream.errors import (
    AuthenticationError,
    ContentBlockedError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    provider_error,
)
from rxstream.framing.sse import SseEvent
from rxstream.tokens import Citation, Json, TokenLogProb

REQUEST_ID_HEADERS = ("x-request-id", "apim-request-id", "request-id")

ERROR_WORDS: Mapping[str, type[ProviderError]] = {
    "invalid_api_key": AuthenticationError,
    "authentication_error": AuthenticationError,
    "permission_error": PermissionDeniedError,
    "insufficient_permissions": PermissionDeniedError,
    "unsupported_country_region_territory": PermissionDeniedError,
    "model_not_found": NotFoundError,
    "not_found_error": NotFoundError,
    "DeploymentNotFound": NotFoundError,
    "insufficient_quota": QuotaExceededError,
    "billing_hard_limit_reached": QuotaExceededError,
    "billing_not_active": QuotaExceededError,
    "rate_limit_exceeded": RateLimitedError,
    "rate_limit_error": RateLimitedError,
    "RateLimitReached": RateLimitedError,
    "context_length_exceeded": InvalidRequestError,
    "unsupported_parameter": InvalidRequestError,
    "tool_use_failed": InvalidRequestError,
    "content_filter": ContentBlockedError,
    "content_policy_violation": ContentBlockedError,
    "overloaded_error": OverloadedError,
    "service_unavailable": OverloadedError,
    "server_error": ServerError,
    "internal_error": ServerError,
    "internal_server_error": ServerError,
    "api_error": ServerError,
}
"""Not here: `invalid_request_error`, which is also the type of errors that have a better name in their status."""
ERROR_WORDS_IN_STREAM = {**ERROR_WORDS, "invalid_request_error": InvalidRequestError}
"""Inside a stream there is no status to say more."""

UNLIKELY = -9999.0
"""OpenAI's own number for a token that is too unlikely for one; in place of an infinity, which JSON lacks."""


def authorize(key: str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"authorization": f"Bearer {key}"}


def error_in(frame: SseEvent) -> ProviderError:
    """Return the error that a frame tells of."""
    complaint = read_body(frame.data)
    return provider_error(
        complaint.message or "the service gave up and did not say why",
        kind=complaint.kind,
        code=complaint.code,
        status=complaint.status,
        words=ERROR_WORDS_IN_STREAM,
        request_id=complaint.request_id,
    )


def heed_odd_frame(frame: SseEvent, *, whole_has: str) -> None:
    """Raise the error that a frame is which is no event of the API; leave it if it is none.

    One that has not even the form of an event is a complaint whatever it says. `whole_has` is a member of the
    answer that the API gives where no stream is asked for.
    """
    is_bare = not frame.event
    answer = read_answer(frame.data)
    is_called_error = within(answer, "object") == "error" or within(answer, "type") == "error"
    if frame.event == "error" or within(answer, "error") or is_called_error:
        raise error_in(frame)
    if is_bare and isinstance(answer, dict) and read_complaint(answer).message:
        raise error_in(frame)
    if is_bare and within(answer, whole_has) is not None:
        raise ProtocolError("the service sent bare JSON where a stream of events was asked for")


def read_annotation(annotation: dict[str, Json], *, index: int = 0, choice: int = 0) -> Citation:
    """Return the source that an annotation of text names."""
    named = annotation.get(as_text(annotation.get("type")) or "")  # its facts lie under the name of its type
    facts = cast(dict[str, Json], named) if isinstance(named, dict) else annotation
    return Citation(
        url=as_text(facts.get("url")),
        title=as_text(facts.get("title")) or as_text(facts.get("filename")),
        text=as_text(facts.get("content")),
        start=as_count(facts.get("start_index")),
        end=as_count(facts.get("end_index")),
        index=index,
        choice=choice,
        raw=passed_on(annotation),
    )


def token_logprobs(items: Json, *, with_top: bool = True) -> list[TokenLogProb]:
    """Return the model's own tokens in a list, with how likely each was."""
    found: list[TokenLogProb] = []
    for item in as_objects(items):
        token, logprob, units = item.get("token"), item.get("logprob"), item.get("bytes")
        if isinstance(token, str) and isinstance(logprob, int | float):
            likely = float(logprob) if math.isfinite(logprob) else UNLIKELY
            as_bytes = [unit for unit in as_list(units) if isinstance(unit, int)] if units is not None else None
            top = token_logprobs(item.get("top_logprobs"), with_top=False) if with_top else []
            found.append(TokenLogProb(token, likely, as_bytes, top))
    return found
