"""What both versions of Cohere's chat API have in common.

Facts: cohere-ai/cohere-python `src/cohere/types/{chat_finish_reason,usage,api_meta,list_models_response}.py`.
"""

from collections.abc import Mapping
from typing import cast
from urllib.parse import quote

from rxstream.dialect import ModelPage
from rxstream.dialects._answers import listed_models, read_answer, read_complaint, read_refusal
from rxstream.dialects._requests import RequestWriter
from rxstream.dialects._values import as_count, as_text, passed_on, within
from rxstream.errors import (
    InvalidRequestError,
    ProviderError,
    ServerError,
    provider_error,
)
from rxstream.messages import ChatRequest, JsonSchema
from rxstream.tokens import FinishReason, Json, StreamToken, UsageReport

BASE_URL = "https://api.cohere.com"
BASE_URL_VARIABLE = "CO_API_URL"
KEY_VARIABLE = "CO_API_KEY"
MODELS_PATH = "/v1/models?endpoint=chat&page_size=1000"
REQUEST_ID_HEADERS = ("x-debug-trace-id",)

FINISH_REASONS = {
    "COMPLETE": FinishReason.STOP,
    "STOP_SEQUENCE": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "TOOL_CALL": FinishReason.TOOL_CALLS,
    "ERROR_TOXIC": FinishReason.CONTENT_FILTER,
    "ERROR": FinishReason.ERROR,
    "ERROR_LIMIT": FinishReason.ERROR,
    "TIMEOUT": FinishReason.ERROR,
}
CUT_SHORT = frozenset({FinishReason.LENGTH, FinishReason.CONTENT_FILTER, FinishReason.ERROR})
"""Where the answer stopped before the model was done: what was open then may not be whole."""

ERROR_WORDS: Mapping[str, type[ProviderError]] = {
    "TOO_MANY_TOKENS": InvalidRequestError,
    "INVALID_TOOL_GENERATION": InvalidRequestError,
    "ERROR_LIMIT": InvalidRequestError,
    "TIMEOUT": ServerError,
}
"""The kinds of errors, and the ends of answers that are none."""


def authorize(key: str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"authorization": f"Bearer {key}"}


def refused(provider: str, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Return the error that a refused request was answered with; header names are lower case."""
    return read_refusal(provider, status, headers, body, words=ERROR_WORDS, request_id_headers=REQUEST_ID_HEADERS)


def read_models(body: bytes) -> ModelPage:
    """Return the models of a page; raises `ProtocolError` if it is none."""
    answer = read_answer(body)
    token = as_text(within(answer, "next_page_token"))
    return ModelPage(listed_models(answer), token and f"{MODELS_PATH}&page_token={quote(token, safe='')}")


def end_error(word: str | None, message: Json, kind: Json) -> ProviderError | None:
    """Return the error that the end of an answer tells of, if it does: a word that means one, or a message."""
    if FINISH_REASONS.get(word or "") is not FinishReason.ERROR and not as_text(message):
        return None
    return provider_error(
        as_text(message) or f"the service gave up ({word})",
        kind=as_text(kind) or word,
        words=ERROR_WORDS,
    )


def complaint_in(data: bytes) -> ProviderError | None:
    """Return the error that a piece of the stream is which is no event, if it is one."""
    complaint = read_complaint(read_answer(data))
    if complaint.message is None:
        return None
    return provider_error(
        complaint.message,
        kind=complaint.kind,
        code=complaint.code,
        words=ERROR_WORDS,
        request_id=complaint.request_id,
    )


def usage_report(usage: Json) -> list[StreamToken]:
    """Return what `usage` (in v1 `meta`) counts: tokens, not what is billed for."""
    raw = passed_on(cast(dict[str, Json], usage)) if isinstance(usage, dict) else None
    if raw is None:
        return []
    tokens = raw.get("tokens")
    report = UsageReport(
        input_tokens=as_count(within(tokens, "input_tokens")),
        output_tokens=as_count(within(tokens, "output_tokens")),
        reasoning_tokens=as_count(within(tokens, "reasoning_tokens")),
        cached_input_tokens=as_count(raw.get("cached_tokens")),
        raw=raw,
    )
    return [report]


def options(request: ChatRequest, write: RequestWriter, *, schema_name: str) -> dict[str, Json]:
    """Return the options that both versions have; raise `ConfigurationError` for those that neither has."""
    write.refuse_lacking(
        {
            "parallel_tool_calls=False": bool(request.tools) and request.parallel_tool_calls is False,
            "messages[].name": any(message.name is not None for message in request.messages),
        }
    )
    return {
        "response_format": _response_format(request.response_format, schema_name),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "p": request.top_p,
        "k": request.top_k,
        "stop_sequences": request.stop,
        "seed": request.seed,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
    }


def _response_format(wanted: str | JsonSchema | None, schema_name: str) -> Json:
    match wanted:
        case JsonSchema(schema=schema):
            return {"type": "json_object", schema_name: schema}
        case "json":
            return {"type": "json_object"}
        case _:
            return wanted and {"type": wanted}
