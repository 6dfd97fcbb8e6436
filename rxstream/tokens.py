"""The tokens of a stream: one closed union of frozen values for every service.

A token is the same object in memory, in a recording and on a relay: it goes to
JSON and MessagePack and back without loss. The union is closed, so a `match`
that ends in `assert_never` is told about every new member.

A healthy stream is: `StreamStart`, then deltas and whole calls, then reports,
then one `StreamEnd` for each choice. Everything that goes wrong is not a token
but a `StreamError`.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Struct, field

Json: TypeAlias = Any
"""A JSON value: `None`, a bool, a number, a string, a list or a dict of JSON values."""


class FinishReason(StrEnum):
    """Why an answer ended, in one vocabulary for every service."""

    STOP = "stop"
    """The model was done, or met a stop sequence."""
    LENGTH = "length"
    """A limit on tokens cut the answer."""
    TOOL_CALLS = "tool_calls"
    """The model waits for the results of its tool calls."""
    CONTENT_FILTER = "content_filter"
    """A filter of the service stopped the answer."""
    REFUSAL = "refusal"
    """The model refused."""
    PAUSE = "pause"
    """The service paused a long turn: send the answer back to go on."""
    ERROR = "error"
    """The service says that the answer is broken."""
    OTHER = "other"
    """A word that no rule maps, or none at all; see `StreamEnd.raw_reason`."""


class Outcome(StrEnum):
    """How a stream ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """The consumer let go of it."""


class StreamStart(Struct, frozen=True, gc=False, tag=True):
    """The response began; or, given again with the same id, another model took it over."""

    id: str | None
    """The service's name for this response."""
    model: str | None
    """The model that answers, as the service calls it."""
    provider: str
    """The dialect that was read, such as `openai.chat`."""


class TextDelta(Struct, frozen=True, gc=False, tag=True):
    """The next piece of the answer's text."""

    text: str
    index: int = 0
    """Which content block of the answer the piece belongs to."""
    choice: int = 0
    """Which of several answers (`n` > 1) the piece belongs to."""


class ReasoningDelta(Struct, frozen=True, gc=False, tag=True):
    """The next piece of the model's thinking, kept apart from its answer."""

    text: str
    index: int = 0
    """Which content block of the answer the piece belongs to."""
    choice: int = 0
    signature: str | None = None
    """The service's proof for the block so far; it replaces an earlier one and goes back unchanged."""
    redacted: str | None = None
    """Thinking that the service only gives encrypted; it goes back unchanged."""
    item_id: str | None = None
    """The service's name for the block, where a signature goes back under one."""


class RefusalDelta(Struct, frozen=True, gc=False, tag=True):
    """The next piece of a refusal, where the API has a channel for one."""

    text: str
    choice: int = 0


class ToolCallStart(Struct, frozen=True, gc=False, tag=True):
    """The model begins to call a tool."""

    key: str
    """Names the call within this stream, whatever index or id the service uses."""
    id: str | None
    """The service's id, which the answer to the call must repeat."""
    name: str
    choice: int = 0


class ToolCallDelta(Struct, frozen=True, gc=False, tag=True):
    """The next piece of a call's arguments, as JSON text."""

    key: str
    arguments: str


class FunctionCall(Struct, frozen=True, gc=False):
    """A function to call, and what to call it with."""

    name: str
    arguments: str
    """The arguments as JSON text; of a tool that takes free text, that text as a JSON string."""


class ToolCall(Struct, frozen=True, gc=False, tag=True):
    """A whole call for the caller to run: given once, when its arguments are complete, valid JSON."""

    key: str
    id: str | None
    function: FunctionCall
    arguments_raw: str | None = None
    """The argument text exactly as sent; `None` where the service sends an object, not text."""
    item_id: str | None = None
    """The service's name for the call itself, where that is another than the id that the answer repeats."""
    is_free_text: bool = False
    """Whether the tool takes plain text: `parsed` is that text, and `arguments_raw` need not be JSON."""

    @property
    def parsed(self) -> Json:
        """The arguments as a value."""
        return read_arguments(self.function.arguments)


class ToolCallTruncated(Struct, frozen=True, gc=False, tag=True):
    """A call whose arguments never became whole, valid JSON: not to be run."""

    key: str
    id: str | None
    name: str
    arguments: str
    """The argument text as far as it came."""


class Citation(Struct, frozen=True, gc=False, tag=True):
    """A source that the answer rests on."""

    url: str | None = None
    title: str | None = None
    text: str | None = None
    """The words cited from the source."""
    start: int | None = None
    """Where the cited answer text begins, in the service's own units."""
    end: int | None = None
    index: int = 0
    choice: int = 0
    raw: dict[str, Json] | None = None
    """The service's own object."""


class Media(Struct, frozen=True, gc=False, tag=True):
    """An inline image or a piece of audio."""

    media_type: str
    data: bytes
    index: int = 0
    choice: int = 0


class TokenLogProb(Struct, frozen=True, gc=False):
    """A token of the model and how likely it was."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top: list["TokenLogProb"] = field(default_factory=list["TokenLogProb"])
    """The likeliest tokens at this place."""


class LogProbs(Struct, frozen=True, gc=False, tag=True):
    """How likely the model's own tokens of the deltas beside it were; appended to what came before."""

    content: list[TokenLogProb] = field(default_factory=list[TokenLogProb])
    refusal: list[TokenLogProb] = field(default_factory=list[TokenLogProb])
    choice: int = 0


class UsageReport(Struct, frozen=True, gc=False, tag=True):
    """What the request has used so far, in tokens: replaces an earlier report. Unknown is `None`, never 0."""

    input_tokens: int | None = None
    """As the service counts it; Anthropic leaves cached tokens out, the others include them."""
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    total_tokens: int | None = None
    source: Literal["provider", "estimated", "unknown"] = "provider"
    raw: dict[str, Json] | None = None
    """The service's own object: prices, tiers and details that have no name above."""


class StreamEnd(Struct, frozen=True, gc=False, tag=True):
    """The healthy end of one choice."""

    reason: FinishReason
    raw_reason: str | None = None
    """The service's own word."""
    choice: int = 0
    details: dict[str, Json] | None = None
    """What the service adds to its word: the stop sequence met, why it refused."""


class Retract(Struct, frozen=True, gc=False, tag=True):
    """Text that was given already is to be taken back, because a check that came later refused it: see `guard`."""

    start: int
    """How much of the choice's text stays: so many characters (code points), in the order in which they came."""
    choice: int = 0
    reason: str | None = None
    """The check's word for why."""


class RawEvent(Struct, frozen=True, gc=False, tag=True):
    """An event that no rule maps; given only when asked for."""

    event: str
    """The service's name for it."""
    data: str
    """Its text, usually JSON."""


StreamToken: TypeAlias = (
    StreamStart
    | TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallStart
    | ToolCallDelta
    | ToolCall
    | ToolCallTruncated
    | Citation
    | Media
    | LogProbs
    | UsageReport
    | StreamEnd
    | Retract
    | RawEvent
)

CONTENT = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallStart, ToolCallDelta, ToolCall, Media)
"""The tokens that show progress of the answer itself: the first of them is the first content."""

_to_json = msgspec.json.Encoder()
_from_json = msgspec.json.Decoder[StreamToken](StreamToken)
_to_msgpack = msgspec.msgpack.Encoder()
_from_msgpack = msgspec.msgpack.Decoder[StreamToken](StreamToken)
_json_from_msgpack = msgspec.msgpack.Decoder[bytes](bytes)
_BINARY = (b"\xc4", b"\xc5", b"\xc6")  # how MessagePack begins bytes


def to_dict(token: StreamToken) -> dict[str, Json]:
    """Return `token` as JSON-ready builtins; `type` says which token it is."""
    return msgspec.to_builtins(token)


def to_json(token: StreamToken) -> bytes:
    """Return `token` as JSON (UTF-8, one line)."""
    return _to_json.encode(token)


def from_json(data: bytes | str) -> StreamToken:
    """Read a token that `to_json` wrote; raise `msgspec.DecodeError` if it is none."""
    return _from_json.decode(data)


def to_msgpack(token: StreamToken) -> bytes:
    """Return `token` as MessagePack, which has no integers beyond 64 bits: a token with one goes as its JSON."""
    try:
        return _to_msgpack.encode(token)
    except OverflowError:
        return _to_msgpack.encode(to_json(token))


def from_msgpack(data: bytes) -> StreamToken:
    """Read a token that `to_msgpack` wrote; raise `msgspec.DecodeError` if it is none."""
    if data.startswith(_BINARY):
        return from_json(_json_from_msgpack.decode(data))
    return _from_msgpack.decode(data)


def read_arguments(text: str) -> Json:
    """Return the value of argument text; no text at all is no arguments, `{}`.

    Raises `msgspec.DecodeError` if it is not JSON.
    """
    return msgspec.json.decode(text) if text.strip() else {}


D = TypeVar("D", bound=StreamToken)


def merge_deltas(tokens: Iterable[StreamToken]) -> list[StreamToken]:
    """Join neighbouring deltas of one block, choice or call; leave every other token as it is.

    What a reader can tell from the tokens stays the same: nothing is moved
    across another token, and a signature is never joined with text.
    """
    merged: list[StreamToken] = []
    run: list[StreamToken] = []
    for token in tokens:
        if run and _continues(run[-1], token):
            run.append(token)
        else:
            if run:
                merged.append(_joined(run))
            run = [token]
    if run:
        merged.append(_joined(run))
    return merged


def _continues(before: StreamToken, token: StreamToken) -> bool:
    """Whether `token` is one more delta of what `before` is a delta of."""
    match before, token:
        case TextDelta(), TextDelta():
            return before.index == token.index and before.choice == token.choice
        case ReasoningDelta(), ReasoningDelta():
            plain = before.signature is before.redacted is token.signature is token.redacted is None
            plain = plain and before.item_id is token.item_id is None
            return plain and before.index == token.index and before.choice == token.choice
        case RefusalDelta(), RefusalDelta():
            return before.choice == token.choice
        case ToolCallDelta(), ToolCallDelta():
            return before.key == token.key
        case _:
            return False


def _joined(run: list[StreamToken]) -> StreamToken:
    """The deltas of `run`, all of one thing, as one."""
    if len(run) == 1:
        return run[0]
    match run[0]:
        case TextDelta(index=index, choice=choice):
            return TextDelta("".join(delta.text for delta in run if isinstance(delta, TextDelta)), index, choice)
        case ReasoningDelta(index=index, choice=choice):
            return ReasoningDelta(
                "".join(delta.text for delta in run if isinstance(delta, ReasoningDelta)), index, choice
            )
        case RefusalDelta(choice=choice):
            return RefusalDelta("".join(delta.text for delta in run if isinstance(delta, RefusalDelta)), choice)
        case ToolCallDelta(key=key):
            return ToolCallDelta(key, "".join(delta.arguments for delta in run if isinstance(delta, ToolCallDelta)))
        case other:
            return other
