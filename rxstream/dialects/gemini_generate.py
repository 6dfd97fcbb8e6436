"""Google's Gemini API, `streamGenerateContent`, as its own service and as Vertex AI speak it.

Each event is a whole answer with the next parts of one or more candidates:

| in an event                             | becomes                                                         |
| --------------------------------------- | --------------------------------------------------------------- |
| the first one                           | `StreamStart`                                                   |
| a part with `text`                      | `TextDelta`; `ReasoningDelta` if it is a `thought`              |
| a part with `thoughtSignature`          | `ReasoningDelta`, before what it signs                          |
| a part with `functionCall`              | `ToolCallStart`, `ToolCallDelta`, `ToolCall`, often all at once |
| a part with `inlineData`                | `Media`                                                         |
| any other part                          | a `RawEvent`, if asked for: code that the service ran           |
| `citationMetadata`, `groundingMetadata` | `Citation`, each once                                           |
| `logprobsResult`                        | `LogProbs`                                                      |
| `finishReason`                          | is kept: the last one counts                                    |
| `usageMetadata`                         | `UsageReport`, if it says something new                         |
| `promptFeedback.blockReason`            | is kept: the end of an answer that never began                  |
| `error`                                 | a `ProviderError`, after all of the above                       |

There is no end mark. A stream is whole when the body ends and every candidate had its
`finishReason`, or the prompt was blocked; then comes one `StreamEnd` for each candidate.

What is odd about it:

- A call finishes with `STOP`. It comes whole, `args` and all, unless the request asks for
  `streamFunctionCallArguments` (Vertex, by `extra`): then `functionCall` names it and says that it
  `willContinue`, brings leaves of the arguments with their places, and closes it, empty; or does not,
  and then the next name or the `finishReason` does.
- A signature belongs to its part, and goes back with it. Here it is a `ReasoningDelta` without text before
  that part, in `AssembledMessage.parts` a `ReasoningPart` without text. What is signed and what is not
  are separate blocks, since they must go back apart. One with nothing after it goes back on an empty text.
- Old models put `STOP` on every event.
- Usage is cumulative, but some events leave most of it out: their keys replace the ones before.
- Errors in mid-stream are bare JSON between events; a refused request is JSON that calls itself an event stream.
- The words of an error name a class that is too wide: a wrong key is an `INVALID_ARGUMENT`. Its `reason` says more.

Facts: googleapis/python-genai `google/genai/{models,types,errors,_api_client}.py`; vercel/ai `packages/google/src`;
pydantic/pydantic-ai `models/google.py` (signatures); ai.google.dev/api.
"""

import math
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any, assert_never, cast
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, Struct

from rxstream.dialect import Capabilities, Decoder, Dialect, HttpRequest, ModelPage
from rxstream.dialects._answers import listed_models, read_answer, read_body, read_limits, read_number, read_refusal
from rxstream.dialects._openai import UNLIKELY
from rxstream.dialects._partial_arguments import PartialArguments
from rxstream.dialects._requests import RequestWriter, base64_text, laid_over, stated, tools_called
from rxstream.dialects._tool_calls import ToolCalls, real
from rxstream.dialects._values import (
    as_count,
    as_list,
    as_objects,
    as_text,
    is_light,
    is_shallow,
    laid_together,
    within,
)
from rxstream.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    TruncatedStreamError,
    provider_error,
)
from rxstream.framing.sse import SseEvent, SseParser, UnknownLines
from rxstream.framing.tolerant_json import JsonReader
from rxstream.messages import (
    ChatRequest,
    ImagePart,
    JsonSchema,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolNamed,
    ToolResultPart,
)
from rxstream.surrogates import mend_value
from rxstream.tokens import (
    Citation,
    FinishReason,
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
    UsageReport,
)

NAME = "gemini.generate"
_HEADERS = {"content-type": "application/json"}
MAX_EVENT_BYTES = 32 << 20
"""Most in one event: an image of the largest size is one, in base64."""

FINISH_REASONS = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "LANGUAGE": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "MODEL_ARMOR": FinishReason.CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.CONTENT_FILTER,
    "IMAGE_OTHER": FinishReason.CONTENT_FILTER,
    "NO_IMAGE": FinishReason.CONTENT_FILTER,
    "MALFORMED_FUNCTION_CALL": FinishReason.ERROR,
    "UNEXPECTED_TOOL_CALL": FinishReason.ERROR,
    "TOO_MANY_TOOL_CALLS": FinishReason.ERROR,
    "MISSING_THOUGHT_SIGNATURE": FinishReason.ERROR,
    "MALFORMED_RESPONSE": FinishReason.ERROR,
    "FUNCTION_CALL": FinishReason.TOOL_CALLS,  # not Google's word, but that of servers that imitate it
}
"""Not here: `OTHER`, `FINISH_REASON_UNSPECIFIED`, and what is new."""

ERROR_WORDS: Mapping[str, type[ProviderError]] = {
    "UNAUTHENTICATED": AuthenticationError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "NOT_FOUND": NotFoundError,
    "INVALID_ARGUMENT": InvalidRequestError,
    "FAILED_PRECONDITION": InvalidRequestError,
    "OUT_OF_RANGE": InvalidRequestError,
    "UNIMPLEMENTED": InvalidRequestError,
    "RESOURCE_EXHAUSTED": RateLimitedError,
    "UNAVAILABLE": OverloadedError,
    "INTERNAL": ServerError,
    "UNKNOWN": ServerError,
    "DATA_LOSS": ServerError,
    "ABORTED": ServerError,
    "CANCELLED": ServerError,
    "DEADLINE_EXCEEDED": ServerError,
}
"""The names of `google.rpc.Code`."""
ERROR_REASONS: Mapping[str, type[ProviderError]] = {
    "API_KEY_INVALID": AuthenticationError,
    "API_KEY_EXPIRED": AuthenticationError,
    "ACCESS_TOKEN_EXPIRED": AuthenticationError,
    "BILLING_DISABLED": QuotaExceededError,
}
"""Where `ErrorInfo.reason` in the details says more than that name."""
_RETRY_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)

USAGE = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount", "totalTokenCount")
"""Input, output without thinking, thinking, what of the input was cached, all."""
UNKNOWN = [None] * len(USAGE)
CITED = ("citationSources", "citations")
"""Where the citations are: Gemini's name for it, and Vertex's."""
SOURCES = ("web", "retrievedContext", "maps", "image")
"""What a source of the grounding may be."""
KNOWN_PARTS = frozenset({"text", "thought", "thoughtSignature", "functionCall", "partMetadata"})
"""What is known of a part; a thought that is an image is not part of the answer, and goes as it is."""

THINKS_BY_BUDGET = re.compile(r"(?:.*/)?gemini-2\.5", re.ASCII)
"""Models that know no level of thinking, only a budget."""
BUDGETS = {"minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576}
"""Tokens that a level stands for with these, by Google's own table (ai.google.dev, OpenAI compatibility)."""
MODELS_PATH = "/models?pageSize=1000"
COUNTED = frozenset({"contents", "systemInstruction", "tools", "toolConfig", "cachedContent"})
"""What of a request is input."""


class PartialArg(Struct, gc=False, rename="camel"):
    """A leaf of the arguments of a call, or a piece of a text that is one."""

    json_path: str = ""
    string_value: str | None = None
    number_value: int | float | None = None
    bool_value: bool | None = None
    null_value: Json = UNSET
    """`null` where the leaf is `null`, else left out."""
    will_continue: bool | None = None

    @property
    def value(self) -> Json:
        """What the leaf is; `UNSET` if nothing says so."""
        for value in (self.string_value, self.number_value, self.bool_value):
            if value is not None:
                return value
        return UNSET if self.null_value is UNSET else None


class Called(Struct, gc=False, rename="camel"):
    """A call, or a piece of one."""

    id: str | None = None
    name: str | None = None
    args: Json = None
    partial_args: list[PartialArg] | None = None
    will_continue: bool | None = None


class Blob(Struct, gc=False, rename="camel"):
    """A file within the answer."""

    mime_type: str | None = None
    data: str | None = None


class AnswerPart(Struct, gc=False, rename="camel"):
    """A piece of a candidate's content."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: Called | None = None
    inline_data: Blob | None = None


class Content(Struct, gc=False):
    """The next parts of a candidate."""

    parts: list[AnswerPart] | None = None


class Candidate(Struct, gc=False, rename="camel"):
    """One of several answers."""

    index: int = 0
    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    citation_metadata: Json = None
    grounding_metadata: Json = None
    logprobs_result: Json = None
    safety_ratings: Raw = Raw()


class Answer(Struct, gc=False, rename="camel"):
    """What is read of an event; all else in it is skipped without being built."""

    candidates: list[Candidate] | None = None
    usage_metadata: dict[str, Json] | None = None
    response_id: str | None = None
    model_version: str | None = None
    prompt_feedback: Json = None
    error: Json = None


class GenerateDecoder(Decoder[SseEvent]):
    """Events of `streamGenerateContent` in, stream tokens out; `provider` is what the tokens call the service."""

    def __init__(self, raw_events: bool = False, *, provider: str = NAME) -> None:
        self.ended = False
        self._provider = provider
        self._raw_events = raw_events
        self._json = JsonReader(Answer)
        self._read = self._json.read
        self._has_started = False
        self._candidates: dict[int, _Candidate] = {}
        self._calls = ToolCalls()  # by candidate: each has one open at a time
        self._usage: dict[str, Json] = {}
        self._blocked: dict[str, Json] | None = None

    @property
    def has_surrogates(self) -> bool:
        return self._json.has_surrogates

    def feed(self, frame: SseEvent, /) -> list[StreamToken]:
        if frame.event != "message" or frame.data[:1] != b"{":
            return self._feed_odd(frame)
        return self._take(self._read(frame.data), frame)

    def flush(self) -> list[StreamToken]:
        candidates = sorted(self._candidates.items())
        if not (candidates or self._blocked) or any(state.finish_reason is None for _, state in candidates):
            raise TruncatedStreamError("the stream ended without a finishReason for every candidate")
        self.ended = True
        made: list[StreamToken] = [] if self._has_started else [StreamStart(None, None, self._provider)]
        made += self._calls.cut()  # such as began after the end of their candidate
        made += [StreamEnd(state.reason, state.finish_reason, index, state.details) for index, state in candidates]
        if not candidates:
            made.append(StreamEnd(FinishReason.CONTENT_FILTER, details=self._blocked))
        return made

    def fail(self, error: Exception, /) -> list[StreamToken]:  # noqa: ARG002  # whatever broke the stream
        return self._calls.cut()

    def _feed_odd(self, frame: SseEvent) -> list[StreamToken]:
        """Take a frame that does not look like an answer: an error, or what no rule maps."""
        if frame.is_done or not frame.data.strip():
            return []  # nothing that the API sends, and nothing that it says
        first = _first(frame.data)
        is_bare = isinstance(frame, UnknownLines)
        is_error = bool(within(first, "error")) or frame.event == "error"
        if is_error or (is_bare and isinstance(first, dict) and read_body(frame.data).message):
            raise _refusal(self._provider, frame.data)
        if is_bare:
            if within(first, "candidates") is not None:
                raise ProtocolError("the service sent bare JSON where events were asked for: alt=sse is missing")
            return self._unmapped(frame)
        return self._take(self._read(frame.data), frame)

    def _take(self, answer: Answer, frame: SseEvent) -> list[StreamToken]:
        made: list[StreamToken] = []
        unmapped: set[int] = set()
        for candidate in answer.candidates or ():
            if not self._take_candidate(candidate, made):
                unmapped.add(candidate.index)
        if unmapped and self._raw_events:
            made += _raw_parts(frame.data, unmapped)
        if answer.prompt_feedback and as_text(within(answer.prompt_feedback, "blockReason")) is not None:
            feedback = cast(dict[str, Json], answer.prompt_feedback)
            self._blocked = {name: fact for name, fact in feedback.items() if is_shallow(fact)}
        if answer.usage_metadata:
            made += self._note_usage(answer.usage_metadata)
        if not self._has_started and (made or answer.candidates or answer.response_id or answer.model_version):
            self._has_started = True
            made = [StreamStart(real(answer.response_id), real(answer.model_version), self._provider), *made]
        if answer.error:
            error = _refusal(self._provider, frame.data)
            error.completed = made
            raise error
        says_nothing = answer.candidates is answer.usage_metadata is answer.prompt_feedback is None
        return self._unmapped(frame) if says_nothing and not made else made

    def _take_candidate(self, candidate: Candidate, made: list[StreamToken]) -> bool:
        """Add the tokens of a candidate to `made`; return whether a rule maps each of its parts."""
        index = candidate.index
        state = self._candidates.get(index)
        if state is None:
            state = self._candidates[index] = _Candidate(index, self._calls)
        is_mapped = True
        for part in (candidate.content and candidate.content.parts) or ():
            is_mapped = state.take(part, made) and is_mapped
        if candidate.citation_metadata or candidate.grounding_metadata:
            made += state.citations(candidate)
            if self._raw_events and candidate.grounding_metadata:
                made.append(RawEvent("groundingMetadata", _written(candidate.grounding_metadata)))
        if candidate.logprobs_result:
            made += _logprobs(candidate.logprobs_result, index)
        if candidate.finish_reason:
            made += state.finish(candidate)
            if index == 0:
                self.finish_reason = candidate.finish_reason
        return is_mapped

    def _note_usage(self, usage: dict[str, Json]) -> list[StreamToken]:
        known = self._usage
        news = {name: count for name, count in usage.items() if count is not None and count != known.get(name)}
        if not all(type(count) is int or is_shallow(count) for count in news.values()):
            news = {name: count for name, count in news.items() if is_shallow(count)}
        if not news:
            return []
        self._usage = merged = laid_together(known, news, USAGE)
        counts = [count if type(count) is int else as_count(count) for count in map(merged.get, USAGE)]
        if counts == UNKNOWN:
            return []  # the first events may name the kind of traffic alone
        given, produced, thought, cached, total = counts
        return [UsageReport(given, produced, thought, cached, total_tokens=total, raw=merged)]

    def _unmapped(self, frame: SseEvent) -> list[StreamToken]:
        return [RawEvent(frame.event, frame.text)] if self._raw_events else []


class _Candidate:
    """What is known of a candidate."""

    def __init__(self, index: int, calls: ToolCalls) -> None:
        self.finish_reason: str | None = None
        self.details: dict[str, Json] | None = None
        self._index = index
        self._calls = calls
        self._block = -1
        self._kind: str | None = None  # what the block begun last is of; `None` if nothing more belongs to it
        self._arguments: PartialArguments | None = None  # of the call that is open, where it comes in pieces
        self._has_called = False
        self._sources: list[Json] = []
        self._cited: set[tuple[Json, ...]] = set()

    @property
    def reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self.finish_reason or "", FinishReason.OTHER)
        return FinishReason.TOOL_CALLS if reason is FinishReason.STOP and self._has_called else reason

    def take(self, part: AnswerPart, made: list[StreamToken]) -> bool:
        """Take a part; return whether a rule maps it."""
        text, signature = part.text, part.thought_signature or None
        if text and signature is part.thought is part.function_call is part.inline_data is None:
            made.append(TextDelta(text, self._in_block("text"), self._index))  # the usual part
            return True
        if signature:
            self._kind = None
        if text and part.thought:
            made.append(ReasoningDelta(text, self._in_block("thought"), self._index, signature))
        else:
            if signature:
                made.append(ReasoningDelta("", self._in_block("text"), self._index, signature))
            if text:
                made.append(TextDelta(text, self._in_block("text"), self._index))
        is_mapped = part.text is not None
        if part.function_call is not None:
            made += self._call(part.function_call)
            is_mapped, self._kind = True, None
        if part.inline_data is not None and not part.thought:
            media = _media(part.inline_data, self._in_block("media"), self._index)
            made += media
            is_mapped = is_mapped or bool(media)
        if signature:
            self._kind = None
        return is_mapped

    def finish(self, candidate: Candidate) -> list[StreamToken]:
        """Note the service's word for the end."""
        self.finish_reason = candidate.finish_reason
        reason = self.reason
        details: dict[str, Json] = {}
        if candidate.finish_message is not None:
            details["finishMessage"] = candidate.finish_message
        if reason is FinishReason.CONTENT_FILTER and (ratings := read_answer(bytes(candidate.safety_ratings))):
            details |= {"safetyRatings": ratings} if is_shallow(ratings) else {}
        self.details = details or None
        return self._finish_call(cut_short=reason not in {FinishReason.STOP, FinishReason.TOOL_CALLS})

    def citations(self, candidate: Candidate) -> list[StreamToken]:
        """Return what the answer rests on: sources, and where each is used if the service says so; each once."""
        cited, grounding = candidate.citation_metadata, candidate.grounding_metadata
        made = [_citation(source, self._index) for name in CITED for source in as_objects(within(cited, name))]
        fresh = as_list(within(grounding, "groundingChunks"))
        self._sources = fresh or self._sources
        used: set[int] = set()
        for support in as_objects(within(grounding, "groundingSupports")):
            for number in map(as_count, as_list(support.get("groundingChunkIndices"))):
                if number is not None and 0 <= number < len(self._sources):
                    used.add(number)
                    made.append(_grounded(self._sources[number], self._index, support))
        made += [_grounded(source, self._index) for number, source in enumerate(fresh) if number not in used]
        return [citation for citation in made if self._is_news(citation)]

    def _is_news(self, citation: Citation) -> bool:
        facts = (citation.url, citation.title, citation.start, citation.end)
        is_news = facts not in self._cited and facts != (None,) * len(facts)
        self._cited.add(facts)
        return is_news

    def _in_block(self, kind: str) -> int:
        """The number of the block that a piece of this kind belongs to."""
        if kind != self._kind:
            self._kind = kind
            self._block += 1
        return self._block

    def _call(self, called: Called) -> list[StreamToken]:
        """Take a call, or the next piece of one; a candidate has one open at a time."""
        name = real(called.name)
        made = [] if name is None else self._finish_call()
        if self._index not in self._calls:
            if name is called.args is None and not called.partial_args:
                return made  # closes what is closed already
            self._arguments = PartialArguments()
        made += self._calls.begin_or_update(self._index, id=called.id, name=name, choice=self._index)
        if called.args is not None:
            made += self._calls.give(self._index, called.args)
            self._arguments = None
        for leaf in called.partial_args or ():
            if self._arguments is None:
                raise ProtocolError("the arguments of a tool call go on after their end")
            if (value := leaf.value) is not UNSET:
                text = self._arguments.add(leaf.json_path, value, continues=bool(leaf.will_continue))
                made += self._calls.add(self._index, text)
        return made if called.will_continue else made + self._finish_call()

    def _finish_call(self, *, cut_short: bool = False) -> list[StreamToken]:
        """Finish the call that is open, if one is."""
        made: list[StreamToken] = []
        if self._index in self._calls and self._arguments is not None and not cut_short:
            made += self._calls.add(self._index, self._arguments.close())
            self._calls.replace(self._index, self._arguments.value)
        self._arguments = None
        made += self._calls.finish(self._index, cut_short=cut_short)
        self._has_called = self._has_called or any(isinstance(token, ToolCall) for token in made)
        return made


def _media(blob: Blob, index: int, choice: int) -> list[StreamToken]:
    try:
        data = b64decode((blob.data or "").translate(_FROM_URL_SAFE), validate=True)
    except ValueError:
        return []
    return [Media(blob.mime_type, data, index, choice)] if blob.mime_type and data else []


_FROM_URL_SAFE = str.maketrans("-_", "+/")


def _citation(source: dict[str, Json], choice: int) -> Citation:
    return Citation(
        url=as_text(source.get("uri")),
        title=as_text(source.get("title")),
        start=as_count(source.get("startIndex")),
        end=as_count(source.get("endIndex")),
        choice=choice,
        raw=source if is_shallow(source) else None,
    )


def _grounded(source: Json, choice: int, support: dict[str, Json] | None = None) -> Citation:
    """A source of the grounding, and where the answer rests on it, in bytes of the whole text."""
    facts: Json = next((found for name in SOURCES if (found := within(source, name)) is not None), None)
    segment = within(support, "segment")
    raw = {**(cast(dict[str, Json], source) if isinstance(source, dict) else {}), **(support or {})}
    return Citation(
        url=as_text(within(facts, "uri")) or as_text(within(facts, "sourceUri")),
        title=as_text(within(facts, "title")),
        text=as_text(within(facts, "text")),
        start=(as_count(within(segment, "startIndex")) or 0) if isinstance(segment, dict) else None,
        end=as_count(within(segment, "endIndex")),
        choice=choice,
        raw=raw if is_shallow(raw) and is_light(raw) else None,
    )


def _logprobs(result: Json, choice: int) -> list[StreamToken]:
    likely = [_token_logprobs(within(place, "candidates")) for place in as_list(within(result, "topCandidates"))]
    chosen = _token_logprobs(within(result, "chosenCandidates"))
    if len(likely) == len(chosen):
        chosen = [msgspec.structs.replace(token, top=top) for token, top in zip(chosen, likely, strict=True)]
    return [LogProbs(chosen, choice=choice)] if chosen else []


def _token_logprobs(items: Json) -> list[TokenLogProb]:
    found: list[TokenLogProb] = []
    for item in as_objects(items):
        token, logprob = item.get("token"), item.get("logProbability")
        if isinstance(token, str) and isinstance(logprob, int | float):
            found.append(TokenLogProb(token, float(logprob) if math.isfinite(logprob) else UNLIKELY))
    return found


def _raw_parts(data: bytes, choices: set[int]) -> Iterator[RawEvent]:
    """The parts of some candidates that no rule maps, each by its kind."""
    for candidate in as_objects(within(read_answer(data), "candidates")):
        if (as_count(candidate.get("index")) or 0) in choices:
            for part in as_objects(within(candidate.get("content"), "parts")):
                for kind, value in part.items():
                    if kind not in KNOWN_PARTS and (kind != "inlineData" or part.get("thought")):
                        yield RawEvent(kind, _written(value))


def _written(value: Json) -> str:
    return msgspec.json.encode(mend_value(value)).decode() if is_shallow(value) else ""


def _first(body: bytes) -> Json:
    """The JSON of a body; of the first item, where the service was asked without SSE and puts all into a list."""
    answer = read_answer(body)
    return next(iter(as_list(answer)), None) if isinstance(answer, list) else answer


def _details(body: bytes) -> list[dict[str, Json]]:
    return as_objects(within(within(_first(body), "error"), "details"))


def _words(kind: str | None, details: list[dict[str, Json]]) -> Mapping[str, type[ProviderError]]:
    """The classes of errors by their names; that of `kind` by its reason, where that says more."""
    reasons = [as_text(detail.get("reason")) for detail in details]
    known = [ERROR_REASONS[reason] for reason in reasons if reason and reason in ERROR_REASONS]
    return {**ERROR_WORDS, kind: known[0]} if kind and known else ERROR_WORDS


def _retry_delay(details: list[dict[str, Json]]) -> float | None:
    """Seconds to wait before a retry, where the details say so."""
    delays = [_RETRY_DELAY.fullmatch(as_text(detail.get("retryDelay")) or "") for detail in details]
    return next((float(delay[1]) for delay in delays if delay), None) or None


def _refusal(provider: str, body: bytes) -> ProviderError:
    """The error that an event tells of."""
    complaint, details = read_body(body), _details(body)
    return provider_error(
        complaint.message or "the service gave up and did not say why",
        kind=complaint.kind,
        code=complaint.code,
        words=_words(complaint.kind, details),
        provider=provider,
        retry_after=_retry_delay(details),
    )


def read_error(status: int, headers: Mapping[str, str], body: bytes, *, provider: str = NAME) -> ProviderError:
    """Return the error that a refused request was answered with; header names are lower case."""
    details = _details(body)
    words = _words(read_body(body).kind, details)
    ids = GEMINI_GENERATE.request_id_headers
    error = read_refusal(provider, status, headers, body, words=words, request_id_headers=ids)
    error.retry_after = error.retry_after or _retry_delay(details)
    return error


class GenerateWriter:
    """Writes requests; `provider` is what its errors call the service.

    - Messages of the roles `system` and `developer` become `systemInstruction`, wherever they stand.
    - Neighbouring messages of the role `tool` become one turn of the user.
    - A tool result names its tool; where it does not, the call of its id says which it was.
    - `reasoning.effort` is a level of thinking, or with models that know none (`THINKS_BY_BUDGET`) a budget;
      `none` is the budget 0. Whoever asks for reasoning is shown summaries of it.
    - A tool that is `strict` asks for calls that keep to their schema (`VALIDATED`).
    - `extra` is laid over the body, member by member where both have an object: so
      `{"generationConfig": {"responseModalities": ["IMAGE"]}}` leaves the temperature as it is.
    """

    def __init__(self, provider: str, *, counts_whole_request: bool = True) -> None:
        self._write = RequestWriter(provider)
        self._counts_whole_request = counts_whole_request

    def build_request(self, request: ChatRequest) -> HttpRequest:
        """Write `request` down; raises `ConfigurationError` for what the API can't be asked."""
        path = f"{_model_path(request.model)}:streamGenerateContent?alt=sse"
        return HttpRequest(path, self._write.json(self._body(request)), _HEADERS)

    def count_request(self, request: ChatRequest) -> HttpRequest:
        """Write down the question how many tokens `request` is: what of it is input, and nothing else."""
        body: dict[str, Json] = {name: value for name, value in self._body(request).items() if name in COUNTED}
        if self._counts_whole_request:
            body = {"generateContentRequest": {"model": _model_path(request.model)[1:], **body}}
        return HttpRequest(f"{_model_path(request.model)}:countTokens", self._write.json(body), _HEADERS)

    def _body(self, request: ChatRequest) -> dict[str, Json]:
        self._write.refuse_lacking(
            {
                "parallel_tool_calls=False": request.parallel_tool_calls is False,
                "tools[].takes_free_text": any(tool.takes_free_text for tool in request.tools),
            }
        )
        options: dict[str, Json] = {
            "systemInstruction": self._system(request.messages),
            "tools": [{"functionDeclarations": [_tool(tool) for tool in request.tools]}] if request.tools else None,
            "toolConfig": _tool_config(request),
            "generationConfig": self._generation_config(request) or None,
        }
        body: dict[str, Json] = {"contents": self._contents(request.messages), **stated(options)}
        return laid_over(body, request.extra)

    def _generation_config(self, request: ChatRequest) -> dict[str, Json]:
        schema = request.response_format.schema if isinstance(request.response_format, JsonSchema) else None
        is_json = schema is not None or request.response_format == "json"
        return stated(
            {
                "maxOutputTokens": request.max_tokens,
                "temperature": request.temperature,
                "topP": request.top_p,
                "topK": request.top_k,
                "stopSequences": request.stop,
                "seed": request.seed,
                "presencePenalty": request.presence_penalty,
                "frequencyPenalty": request.frequency_penalty,
                "candidateCount": request.n,
                "responseLogprobs": None if request.logprobs is None else True,
                "logprobs": request.logprobs or None,
                "responseMimeType": "application/json" if is_json else None,
                "responseJsonSchema": schema,
                "thinkingConfig": self._thinking(request),
            }
        )

    def _thinking(self, request: ChatRequest) -> Json:
        reasoning = request.reasoning
        if reasoning is None:
            return None
        if reasoning.effort is not None and reasoning.budget_tokens is not None:
            raise self._write.unable("thinking has either an effort or a budget, not both")
        if reasoning.effort == "none":
            return {"thinkingBudget": 0}
        config: dict[str, Json] = {"includeThoughts": True}
        if reasoning.budget_tokens is not None:
            return {**config, "thinkingBudget": reasoning.budget_tokens}
        if reasoning.effort is None:
            return config
        if not THINKS_BY_BUDGET.match(request.model):
            return {**config, "thinkingLevel": reasoning.effort.upper()}
        if reasoning.effort not in BUDGETS:
            raise self._write.unable(f"with this model, reasoning.effort is one of {', '.join(BUDGETS)}, or a budget")
        return {**config, "thinkingBudget": BUDGETS[reasoning.effort]}

    def _system(self, messages: list[Message]) -> Json:
        parts = [part for message in messages if _is_system(message) for part in message.parts]
        texts = [part.text for part in parts if isinstance(part, TextPart)]
        if len(texts) < len(parts):
            raise self._write.unable("a system message holds text only")
        return {"parts": [{"text": text} for text in texts]} if texts else None

    def _contents(self, messages: list[Message]) -> list[Json]:
        spoken = [message for message in messages if not _is_system(message)]
        if any(message.name is not None for message in spoken):
            raise self._write.unable("messages have no name; write who speaks into the text")
        names = tools_called(messages)
        contents: list[dict[str, Json]] = []
        for are_results, group in groupby(spoken, key=lambda message: message.role == "tool"):
            if are_results:
                results = [part for message in group for part in message.parts]
                contents.append({"role": "user", "parts": self._parts(results, names)})
            else:
                contents += [{"role": _role(message), "parts": self._parts(message.parts, names)} for message in group]
        return [content for content in contents if content["parts"]]

    def _parts(self, parts: list[Part], names: Mapping[str, str]) -> list[Json]:
        """The parts of a turn; a signature without a text goes onto what follows it."""
        written: list[dict[str, Json]] = []
        signature: dict[str, Json] = {}
        for part in parts:
            if isinstance(part, ReasoningPart):
                if signature:
                    written.append({"text": "", **signature})
                signature = {} if part.signature is None else {"thoughtSignature": part.signature}
                if part.text:
                    written.append({"text": part.text, "thought": True, **signature})
                    signature = {}
            else:
                written.append({**self._part(part, names), **signature})
                signature = {}
        return [*written, {"text": "", **signature}] if signature else list(written)

    def _part(
        self, part: TextPart | ImagePart | ToolCallPart | ToolResultPart, names: Mapping[str, str]
    ) -> dict[str, Json]:
        match part:
            case TextPart():
                return {"text": part.text}
            case ImagePart(data=bytes(data)):
                return {"inlineData": {"mimeType": part.media_type, "data": base64_text(data)}}
            case ImagePart():
                return {"fileData": stated({"fileUri": part.url, "mimeType": part.media_type})}
            case ToolCallPart():
                named: dict[str, Json] = {} if part.id is None else {"id": part.id}
                return {"functionCall": {**named, "name": part.name, "args": self._write.arguments(part)}}
            case ToolResultPart():
                return {"functionResponse": self._result(part, names)}
            case _:
                assert_never(part)

    def _result(self, result: ToolResultPart, names: Mapping[str, str]) -> Json:
        name = result.name or names.get(result.id or "")
        if name is None:
            raise self._write.unable("a tool result names its tool: give the name, or the message with the call")
        known: dict[str, Json] = {} if result.id is None else {"id": result.id}
        return {**known, "name": name, "response": {"error" if result.is_error else "output": result.content}}


def _model_path(model: str) -> str:
    """The path of a model, which may say itself what kind it is: `tunedModels/mine`."""
    return "/" + quote(model if "/" in model else f"models/{model}", safe="/@:")


def _is_system(message: Message) -> bool:
    return message.role in {"system", "developer"}


def _role(message: Message) -> str:
    return "model" if message.role == "assistant" else "user"


def _tool(tool: Tool) -> Json:
    described = {"description": tool.description, "parametersJsonSchema": tool.parameters}
    return {"name": tool.name, **stated(described)}


def _tool_config(request: ChatRequest) -> Json:
    config: dict[str, Json]
    match request.tool_choice:
        case ToolNamed(name=name):
            config = {"mode": "ANY", "allowedFunctionNames": [name]}
        case "required":
            config = {"mode": "ANY"}
        case "none":
            config = {"mode": "NONE"}
        case None | "auto" if any(tool.strict for tool in request.tools):
            config = {"mode": "VALIDATED"}
        case "auto":
            config = {"mode": "AUTO"}
        case None:
            return None
    return {"functionCallingConfig": config}


def read_models(body: bytes) -> ModelPage:
    """Read a page of the list of models, which names them with where they are: `models/gemini-2.5-pro`."""
    answer = read_answer(body)
    published = within(answer, "publisherModels")  # Vertex
    models = [name.rpartition("models/")[2] for name in listed_models(answer if published is None else published)]
    token = as_text(within(answer, "nextPageToken"))
    return ModelPage(models, token and f"{MODELS_PATH}&pageToken={quote(token, safe='')}")


def find_base_url(environment: Mapping[str, str]) -> str | None:
    """Return the address that `GOOGLE_GEMINI_BASE_URL` means: Google's own clients add the version to it."""
    told = environment.get("GOOGLE_GEMINI_BASE_URL")
    return told and f"{told.rstrip('/')}/v1beta"


def authorize(key: str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"x-goog-api-key": key}


def generate_dialect(name: str, writer: GenerateWriter, **facts: Any) -> Dialect[SseEvent]:
    """Return the dialect of another service that speaks this API, with `facts` as fields of it."""
    own: dict[str, Any] = {
        "build_request": writer.build_request,
        "count_request": writer.count_request,
        "decoder": partial(GenerateDecoder, provider=name),
        "read_error": partial(read_error, provider=name),
    }
    return replace(GEMINI_GENERATE, name=name, **own | facts)


_writer = GenerateWriter(NAME)

GEMINI_GENERATE = Dialect[SseEvent](
    name=NAME,
    base_url="https://generativelanguage.googleapis.com/v1beta",
    find_base_url=find_base_url,
    key_variable="GEMINI_API_KEY",
    build_request=_writer.build_request,
    authorize=authorize,
    parser=lambda: SseParser(
        lenient="whole", keep_unknown=True, max_line_bytes=MAX_EVENT_BYTES, max_event_bytes=MAX_EVENT_BYTES
    ),
    decoder=GenerateDecoder,
    read_error=read_error,
    read_limits=read_limits,
    models_path=MODELS_PATH,
    read_models=read_models,
    count_request=_writer.count_request,
    read_count=lambda body: read_number(body, "totalTokens"),
    capabilities=Capabilities(
        images=True,
        tools=True,
        parallel_tools=True,
        reasoning=True,
        structured_output=True,
        logprobs=True,
        choices=True,
        token_counting=True,
    ),
)
