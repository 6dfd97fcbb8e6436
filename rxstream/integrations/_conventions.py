"""The names of OpenTelemetry's conventions for generative AI, version 1.41.0: all of them stand here and nowhere else.

1.41.0 (2026) is the last release that they are a part of; they went on in a repository of
their own, whose first release, 0.1.0, calls the metrics `gen_ai.client.inference.…` and
counts tokens where this one has a histogram. All of it is still "in development". Whoever
raises the version changes this file, and `taps/metrics.py` where it quotes it.

Prometheus gets the names that OpenTelemetry's exporter for it would make of them, so that
one dashboard fits both.
"""

from collections.abc import Mapping

from msgspec import Struct

from rxstream.messages import ChatRequest, JsonSchema
from rxstream.tokens import UsageReport

VERSION = "1.41.0"
SCHEMA_URL = f"https://opentelemetry.io/schemas/{VERSION}"

# Attributes

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
CHOICE_COUNT = "gen_ai.request.choice.count"
STOP_SEQUENCES = "gen_ai.request.stop_sequences"
OUTPUT_TYPE = "gen_ai.output.type"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105  # tokens of a model
ERROR_TYPE = "error.type"
STATUS_CODE = "http.response.status_code"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

SAMPLING = {
    f"gen_ai.request.{name}": name
    for name in ("frequency_penalty", "max_tokens", "presence_penalty", "seed", "temperature", "top_k", "top_p")
}
"""Attributes that are fields of a `ChatRequest`."""
USAGE_INPUT = "gen_ai.usage.input_tokens"
USAGE_OUTPUT = "gen_ai.usage.output_tokens"
USAGE = {
    USAGE_OUTPUT: "output_tokens",
    "gen_ai.usage.reasoning.output_tokens": "reasoning_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cached_input_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "cache_write_tokens",
}
"""Attributes that are fields of a `UsageReport`; for `USAGE_INPUT` see `input_tokens`."""

# What the conventions have no name for

OUTCOME = "rxstream.outcome"
PAUSES = "rxstream.pauses"
SECONDS_PAUSED = "rxstream.seconds_paused"
USAGE_IS_ESTIMATED = "rxstream.usage_is_estimated"


# Metrics


class Metric(Struct, frozen=True):
    """A histogram: its name, its unit and the upper ends of its buckets."""

    name: str
    unit: str
    description: str
    buckets: tuple[float, ...]


SECONDS = tuple(0.01 * 2**power for power in range(14))
"""Up to 81.92."""
TOKENS = tuple(float(4**power) for power in range(14))
"""Up to 67,108,864."""

DURATION = Metric("gen_ai.client.operation.duration", "s", "GenAI operation duration.", SECONDS)
TIME_TO_FIRST_CHUNK = Metric(
    "gen_ai.client.operation.time_to_first_chunk", "s", "Time to receive the first chunk.", SECONDS
)
TIME_PER_OUTPUT_CHUNK = Metric(
    "gen_ai.client.operation.time_per_output_chunk", "s", "Time from one chunk of the answer to the next.", SECONDS
)
TOKEN_USAGE = Metric("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", TOKENS)

# Values

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""By the first part of the name of a dialect; the others are called alike, or have no name there."""
_GENERATORS = frozenset({"gemini", "vertex"})
_COUNT_CACHED_APART = frozenset({"anthropic", "bedrock"})


def provider_name(dialect: str) -> str:
    """Return what the conventions call the service of a dialect, such as `openai` of `openai.chat`."""
    family = _family(dialect)
    return _PROVIDERS.get(family, family)


def operation_name(dialect: str | None) -> str:
    """Return what the conventions call a request in that dialect."""
    return "generate_content" if dialect is not None and _family(dialect) in _GENERATORS else "chat"


def input_tokens(usage: UsageReport, dialect: str | None) -> int | None:
    """Return the input tokens, cached ones included, which is what the conventions ask for."""
    if usage.input_tokens is None or dialect is None or _family(dialect) not in _COUNT_CACHED_APART:
        return usage.input_tokens
    return usage.input_tokens + (usage.cached_input_tokens or 0) + (usage.cache_write_tokens or 0)


def request_attributes(request: ChatRequest) -> Mapping[str, str | int | float | list[str]]:
    """Return what a request says of how it is to be answered, without what it asks."""
    known = {name: value for name, field in SAMPLING.items() if (value := getattr(request, field)) is not None}
    if request.stop:
        known[STOP_SEQUENCES] = list(request.stop)
    if request.n is not None and request.n != 1:
        known[CHOICE_COUNT] = request.n
    if request.response_format is not None:
        is_json = request.response_format == "json" or isinstance(request.response_format, JsonSchema)
        known[OUTPUT_TYPE] = "json" if is_json else "text"
    return known


def _family(dialect: str) -> str:
    return dialect.partition(".")[0]
