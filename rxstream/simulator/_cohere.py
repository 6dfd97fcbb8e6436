"""What both versions of Cohere's chat API say alike, imitated."""

from collections.abc import Mapping, Sequence
from email.utils import formatdate

from rxstream.messages import Usage
from rxstream.simulator.api import Refusal, Said, letters, to_json
from rxstream.simulator.turn import Turn
from rxstream.tokens import FinishReason, Json

FINISH_REASONS = {
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.TOOL_CALLS: "TOOL_CALL",
    FinishReason.CONTENT_FILTER: "ERROR_TOXIC",
    FinishReason.ERROR: "ERROR",
}
"""All else ends in `COMPLETE`."""
ERRORS: Mapping[int, str] = {
    400: "invalid request",
    401: "invalid api token",
    403: "forbidden",
    404: "model '{model}' not found, make sure the correct model ID was used and that you have access to the model.",
    429: "You are using a trial key, which is limited to 40 API calls / minute.",
    500: "internal server error, this has been reported to our developers.",
    503: "service unavailable",
}
"""What the service says for a status."""
CALLS_A_MINUTE = 40


def uuid(turn: Turn, purpose: str) -> str:
    """Return an id in the form of a UUID."""
    digits = letters(turn.chance(purpose), 32, "0123456789abcdef")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def counted(usage: Usage) -> dict[str, Json]:
    """Return what was counted and what is billed for."""
    tokens: dict[str, Json] = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    thought: dict[str, Json] = {"reasoning_tokens": usage.reasoning_tokens} if usage.reasoning_tokens else {}
    return {"billed_units": tokens, "tokens": tokens | thought, "cached_tokens": usage.cached_input_tokens or 0}


def headers(turn: Turn) -> dict[str, str]:
    """Return the headers of a good answer."""
    return {
        "date": formatdate(turn.at, usegmt=True),
        "x-debug-trace-id": letters(turn.chance("headers"), 32, "0123456789abcdef"),
        "x-endpoint-monthly-call-limit": "1000",
        "x-trial-endpoint-call-limit": str(CALLS_A_MINUTE),
        "x-trial-endpoint-call-remaining": str(CALLS_A_MINUTE - 1),
    }


def refuse(refusal: Refusal, turn: Turn) -> Said:
    """Write a refusal down."""
    usual = ERRORS.get(refusal.status, ERRORS[400 if refusal.status < 500 else 500])
    message = usual.format(model=turn.model) if refusal.message is None else refusal.message
    kind = {"error_type": refusal.kind} if refusal.kind else {}
    said = {**headers(turn), "content-type": "application/json"}
    return Said(refusal.status, said, to_json({"id": uuid(turn, "refusal"), "message": message, **kind}))


def models(names: Sequence[str], turn: Turn) -> bytes:  # noqa: ARG001  # every service gets it
    """Write a list of models down."""
    rows = [{"name": name, "endpoints": ["chat"], "finetuned": False, "context_length": 128_000.0} for name in names]
    return to_json({"models": rows})


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key that a request brings."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None
