"""Mistral's chat completions: the words of `openai.chat`, with differences.

- Thinking is a part of `content`, which is a list then (`{"type": "thinking", "thinking": [...]}`) and a text
  at other times; one chunk may hold the last of the thinking and the first of the text. It goes back so too.
- A tool call comes whole in one chunk; its `index` may be missing.
- Usage stands beside the last choice, unasked. `p` is padding.
- `finish_reason` may be `model_length`, a limit of the model's own.
- The seed is `random_seed`; the service has `top_k`, and knows neither the role `developer` nor names of speakers.
- Refusals are `{"detail": "…"}` or a list of problems; rate limits go by the size of requests.

Facts: mistralai/client-python `src/mistralai/client/models/{chatcompletionstreamrequest,deltamessage,thinkchunk,
toolcall}.py`.
"""

from collections.abc import Mapping

from rxstream.dialects._answers import read_mistral_limits, read_refusal
from rxstream.dialects._chat_requests import Quirks
from rxstream.dialects._openai import ERROR_WORDS as OPENAI_WORDS
from rxstream.dialects.openai_chat import chat_dialect
from rxstream.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    ProviderError,
    RateLimitedError,
)

NAME = "mistral.chat"
REQUEST_ID_HEADERS = ("x-kong-request-id", "mistral-correlation-id")

QUIRKS = Quirks(
    options={"seed": "random_seed", "top_k": "top_k", "max_tokens": "max_tokens", "messages[].name": None},
    asks_for_usage=False,
    developer_role="system",
    thinking="parts",
)

ERROR_WORDS: Mapping[str, type[ProviderError]] = {
    **OPENAI_WORDS,
    "unauthorized": AuthenticationError,
    "invalid_model": NotFoundError,
    "rate_limited": RateLimitedError,
    "service_tier_capacity_exceeded": OverloadedError,
    "invalid_request_prompt": InvalidRequestError,
    "invalid_request_message": InvalidRequestError,
}


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Return the error that a refused request was answered with; header names are lower case."""
    return read_refusal(NAME, status, headers, body, words=ERROR_WORDS, request_id_headers=REQUEST_ID_HEADERS)


MISTRAL_CHAT = chat_dialect(
    NAME,
    QUIRKS,
    base_url="https://api.mistral.ai/v1",
    base_url_variable="MISTRAL_BASE_URL",
    key_variable="MISTRAL_API_KEY",
    read_error=read_error,
    read_limits=read_mistral_limits,
    request_id_headers=REQUEST_ID_HEADERS,
)
