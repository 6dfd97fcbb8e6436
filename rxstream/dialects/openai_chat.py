"""OpenAI's Chat Completions API, and the many servers that speak it.

A stream is a series of chunks, each with a piece (`delta`) of one or more choices:

| in a chunk                                     | becomes                                        |
| ---------------------------------------------- | ---------------------------------------------- |
| the first real `id` or `model`                 | `StreamStart`; the first content, without them |
| `reasoning_content`, `reasoning`, `reasoning_details` | `ReasoningDelta`, one text however often told |
| `content`, a text or a list of parts           | `TextDelta`, `ReasoningDelta`                  |
| `refusal`                                      | `RefusalDelta`                                 |
| `tool_calls`, `function_call`                  | `ToolCallStart`, `ToolCallDelta`               |
| `annotations`, `citations`, `search_results`   | `Citation`, each source once                   |
| `logprobs`                                     | `LogProbs`                                     |
| `finish_reason`                                | `ToolCall` or `ToolCallTruncated`; it is kept  |
| `usage`, `x_groq.usage`                        | `UsageReport`, if it says something new        |
| Azure's `content_filter_results`, `prompt_filter_results` | details of the `StreamEnd`          |
| `error`                                        | a `ProviderError`, after all of the above      |
| anything else                                  | nothing; a `RawEvent`, if asked for            |

A stream is whole at `[DONE]`, or when the body ends and every choice that began
has had its `finish_reason`; then comes one `StreamEnd` for each choice. Some
servers never send the one, some never the other.

What is odd about it:

- The chunk with the usage has no choices; Azure's first chunk has no id, model or choices, later ones
  may have a choice without `delta`. `message` repeats what the deltas said: it is not looked at.
- The index of a tool call starts at 0 or 1, or is missing, or is 0 for every call of a server that sends
  whole calls. Some servers give each piece of one call a new id. So a piece begins another call only if
  it has a name of its own and an id (or, on a server without ids, whole arguments) of its own.
- `finish_reason` may come twice, and beside content. The first one counts, unless a later one says that
  the answer is broken.
- The reason `stop` is `TOOL_CALLS` if a tool is called all the same, as when one was asked for by name.
- Errors come as `error` in a chunk, as `event: error`, as a line `error: {…}` and as bare JSON.

Facts: openai/openai-python `src/openai/types/chat/chat_completion_chunk.py`; vercel/ai
`packages/{openai,openai-compatible}/src/chat`; pydantic/pydantic-ai `models/openai.py`.
"""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

from msgspec import Struct

from rxstream.dialect import Capabilities, Decoder, Dialect
from rxstream.dialects._answers import read_limits, read_models, read_refusal
from rxstream.dialects._chat_requests import ChatWriter, Quirks
from rxstream.dialects._content_filters import ContentFilters
from rxstream.dialects._openai import (
    ERROR_WORDS,
    REQUEST_ID_HEADERS,
    authorize,
    error_in,
    heed_odd_frame,
    read_annotation,
    token_logprobs,
)
from rxstream.dialects._text_run import TextRun
from rxstream.dialects._tool_calls import ToolCalls, real
from rxstream.dialects._values import as_count, as_list, as_objects, as_text, is_light, is_shallow, passed_on, within
from rxstream.errors import ProtocolError, ProviderError, TruncatedStreamError
from rxstream.framing.sse import SseEvent, SseParser, UnknownLines
from rxstream.framing.tolerant_json import JsonReader
from rxstream.tokens import (
    Citation,
    FinishReason,
    Json,
    LogProbs,
    RawEvent,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCall,
    UsageReport,
)

__all__ = ["OPENAI_CHAT", "ChatDecoder", "Quirks", "build_request", "chat_dialect", "read_error"]

NAME = "openai.chat"

FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "error": FinishReason.ERROR,
    "insufficient_system_resource": FinishReason.ERROR,
}
CUT_SHORT = frozenset({FinishReason.LENGTH, FinishReason.CONTENT_FILTER, FinishReason.ERROR})
"""Where the answer stopped before the model was done: what was open then may not be whole."""


class FunctionPiece(Struct, gc=False):
    """What a piece says about the function to call."""

    name: Json = None
    arguments: Json = None
    """Text; an object from old servers."""


class ToolCallPiece(Struct, gc=False):
    """The next piece of a tool call, or all of it."""

    index: int | None = None
    id: Json = None
    function: FunctionPiece | None = None


class Delta(Struct, gc=False):
    """The next piece of a choice."""

    content: Json = None
    reasoning_content: Json = None
    reasoning: Json = None
    reasoning_details: Json = None
    refusal: Json = None
    tool_calls: list[ToolCallPiece] | None = None
    function_call: FunctionPiece | None = None
    annotations: Json = None


class Choice(Struct, gc=False):
    """One of several answers."""

    index: int = 0
    delta: Delta | None = None
    finish_reason: Json = None
    logprobs: Json = None
    content_filter_results: Json = None


class Chunk(Struct, gc=False):
    """What is read of a frame; all else in it is skipped without being built."""

    choices: list[Choice] | None = None
    id: Json = None
    model: Json = None
    usage: Json = None
    error: Json = None
    citations: Json = None
    search_results: Json = None
    x_groq: Json = None
    prompt_filter_results: Json = None


class ChatDecoder(Decoder[SseEvent]):
    """Chat Completions frames in, stream tokens out."""

    def __init__(self, raw_events: bool = False, *, provider: str = NAME) -> None:
        self.ended = False
        self._provider = provider
        self._raw_events = raw_events
        self._json = JsonReader(Chunk)
        self._read = self._json.read
        self._is_plain = False  # choice 0 gave text before: nothing is left to note for more of it
        self._run = TextRun(lambda data: _text_alone(self._read(data)), padding=b'"obfuscation":"')
        self._has_started = False
        self._choices: dict[int, _ChoiceState] = {}
        self._calls = ToolCalls()
        self._places: dict[Hashable, int] = {}  # where the server puts the pieces of a call: the slot of that call
        self._slots = 0
        self._usage: Json = None
        self._cited: set[str] = set()
        self._prompt_filters: Json = None

    @property
    def has_surrogates(self) -> bool:
        return self._json.has_surrogates

    def feed(self, frame: SseEvent, /) -> list[StreamToken]:
        if self.ended:
            return []
        if frame.event != "message" or frame.data[:1] != b"{":
            return self._feed_odd(frame)
        chunk = self._read(frame.data)
        if self._is_plain and (text := _text_alone(chunk)) is not None:  # the usual chunk
            if not text:
                return []
            self._run.learn(frame, text)
            return [TextDelta(text)]
        return self._take(chunk, frame)

    def skim(self, made: list[StreamToken], chunk: bytes, start: int, /) -> int:
        return start if self.ended else self._run.skim(made, chunk, start)

    def flush(self) -> list[StreamToken]:
        if self.ended:
            return []
        if not self._choices or any(choice.finish_reason is None for choice in self._choices.values()):
            raise TruncatedStreamError("the stream ended without [DONE], and without a finish_reason for every choice")
        return self._end()

    def fail(self, error: Exception, /) -> list[StreamToken]:  # noqa: ARG002  # whatever broke the stream
        return self._calls.cut()

    def _feed_odd(self, frame: SseEvent) -> list[StreamToken]:
        """Take a frame that does not look like a chunk: the end mark, an error, or what no rule maps."""
        if frame.is_done:
            return self._end()
        if not frame.data.strip():
            return []  # an event to keep the connection alive
        if frame.event == "error" or isinstance(frame, UnknownLines):
            heed_odd_frame(frame, whole_has="choices")
            return self._unmapped(frame)
        try:
            chunk = self._read(frame.data)
        except ProtocolError:
            if frame.event != "message":
                return self._unmapped(frame)
            raise
        return self._take(chunk, frame)

    def _take(self, chunk: Chunk, frame: SseEvent) -> list[StreamToken]:
        """Take any chunk."""
        if chunk.choices is chunk.id is chunk.model is chunk.usage is chunk.x_groq is chunk.error is None:
            heed_odd_frame(frame, whole_has="choices")
            return self._unmapped(frame)
        made: list[StreamToken] = []
        for choice in chunk.choices or ():
            self._take_choice(choice, made)
        if (verdicts := chunk.prompt_filter_results) and is_shallow(verdicts) and is_light(verdicts):
            self._prompt_filters = verdicts
        if chunk.citations or chunk.search_results:
            made += self._citations(chunk)
        if chunk.usage or chunk.x_groq:
            made += self._usage_report(chunk)
        if not self._has_started and (made or _real(chunk.id) or _real(chunk.model)):
            self._has_started = True
            made = [StreamStart(_real(chunk.id), _real(chunk.model), self._provider), *made]
        if chunk.error:
            error = error_in(frame)
            error.completed = made
            raise error
        return made

    def _take_choice(self, choice: Choice, made: list[StreamToken]) -> None:
        index = choice.index
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = _ChoiceState()
        delta = choice.delta
        if delta is not None:
            if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
                made += state.reasoning(delta, index)
            if delta.content:
                made += _content(delta.content, index)
                self._is_plain = self._is_plain or index == 0
            if (refusal := as_text(delta.refusal)) is not None:
                state.has_refused = True
                made.append(RefusalDelta(refusal, index))
            if delta.tool_calls or delta.function_call:
                made += self._tool_calls(delta, index)
            if delta.annotations:
                made += [read_annotation(annotation, choice=index) for annotation in as_objects(delta.annotations)]
        if choice.content_filter_results:
            state.filters.note(choice.content_filter_results)
        if choice.logprobs:
            made += _logprobs(choice.logprobs, index)
        if choice.finish_reason and (reason := _real(choice.finish_reason)) is not None and state.finish(reason):
            if index == 0:
                self.finish_reason = reason
            finished = self._calls.finish_all(index, cut_short=state.reason in CUT_SHORT)
            state.has_called = any(isinstance(token, ToolCall) for token in finished)
            made += finished

    def _tool_calls(self, delta: Delta, choice: int) -> list[StreamToken]:
        made: list[StreamToken] = []
        for piece in delta.tool_calls or ():
            function = piece.function or FunctionPiece()
            made += self._add_to_call(self._slot(piece, function, choice), _real(piece.id), function, choice)
        if delta.function_call is not None:
            made += self._add_to_call(("function_call", choice), None, delta.function_call, choice)
        return made

    def _add_to_call(self, slot: Hashable, id: str | None, function: FunctionPiece, choice: int) -> list[StreamToken]:
        made = self._calls.begin_or_update(slot, id=id, name=_real(function.name), choice=choice)
        arguments = function.arguments
        if isinstance(arguments, str):
            made += self._calls.add(slot, arguments)
        elif arguments is not None:
            made += self._calls.give(slot, arguments)
        return made

    def _slot(self, piece: ToolCallPiece, function: FunctionPiece, choice: int) -> int:
        """The call that `piece` belongs to; a new one if it is the first of it."""
        id, name = _real(piece.id), _real(function.name)
        place: Hashable = (choice, piece.index)
        if piece.index is None:  # an id may name the call; other pieces go on with the call before them
            place = (choice, id)
            if id is None or (name is None and place not in self._places):
                place = (choice, "last")
        slot = self._places.get(place)
        if slot is None or (name is not None and self._is_another(slot, id, name, function.arguments)):
            slot = self._slots
            self._slots += 1
        self._places[place] = self._places[choice, "last"] = slot
        return slot

    def _is_another(self, slot: int, id: str | None, name: str, arguments: Json) -> bool:
        """Whether a piece with a name begins another call than that of `slot`."""
        known_id, known_name = self._calls.id(slot), self._calls.name(slot)
        if known_name is None:  # it names the call at last; or the call is finished, and its slot free
            return False
        if known_id is not None and id is not None:
            return id != known_id
        if name != known_name:
            return True
        if known_id is not None or id is not None:
            return False
        begins = isinstance(arguments, dict) or (as_text(arguments) or "").lstrip().startswith("{")
        return begins and self._calls.came_whole(slot)

    def _citations(self, chunk: Chunk) -> list[StreamToken]:
        """The sources of the whole answer, which Perplexity repeats with each chunk: each once."""
        results = [(as_text(result.get("url")), result) for result in as_objects(chunk.search_results)]
        listed = [(as_text(source.get("url")), source) for source in as_objects(chunk.citations)]
        named = [(as_text(url), dict[str, Json]()) for url in as_list(chunk.citations)]
        made: list[StreamToken] = []
        for url, source in [*results, *listed, *named]:
            if url is not None and url not in self._cited:
                self._cited.add(url)
                title, text = as_text(source.get("title")), as_text(source.get("snippet"))
                made.append(Citation(url=url, title=title, text=text, raw=passed_on(source)))
        return made

    def _usage_report(self, chunk: Chunk) -> list[StreamToken]:
        usage = chunk.usage or within(chunk.x_groq, "usage")
        if not isinstance(usage, dict) or not is_shallow(usage) or usage == self._usage:
            return []
        self._usage = counts = cast(dict[str, Json], usage)
        cached = as_count(within(counts.get("prompt_tokens_details"), "cached_tokens"))
        return [
            UsageReport(
                input_tokens=as_count(counts.get("prompt_tokens")),
                output_tokens=as_count(counts.get("completion_tokens")),
                reasoning_tokens=as_count(within(counts.get("completion_tokens_details"), "reasoning_tokens")),
                cached_input_tokens=as_count(counts.get("prompt_cache_hit_tokens")) if cached is None else cached,
                total_tokens=as_count(counts.get("total_tokens")),
                raw=counts,
            )
        ]

    def _end(self) -> list[StreamToken]:
        self.ended = True
        made = self._calls.finish_all()
        if not self._has_started:
            made = [StreamStart(None, None, self._provider), *made]
        choices = sorted(self._choices.items()) or [(0, _ChoiceState())]
        prompt = {"prompt_filter_results": self._prompt_filters} if self._prompt_filters else {}
        return [*made, *(state.end(index, prompt) for index, state in choices)]

    def _unmapped(self, frame: SseEvent) -> list[StreamToken]:
        return [RawEvent(frame.event, frame.text)] if self._raw_events else []


def _text_alone(chunk: Chunk) -> str | None:
    """The text of a chunk that says nothing but the next piece of the first choice's text."""
    if not chunk.choices or not (chunk.usage is chunk.error is chunk.citations is chunk.search_results is None):
        return None
    choice = chunk.choices[0]
    delta = choice.delta
    if (
        delta is not None
        and type(delta.content) is str
        and choice.finish_reason is choice.logprobs is delta.tool_calls is delta.reasoning_content is None
        and delta.reasoning is delta.reasoning_details is delta.refusal is delta.annotations is None
        and delta.function_call is chunk.x_groq is None
        and not choice.content_filter_results
        and choice.index == 0
        and len(chunk.choices) == 1
    ):
        return delta.content
    return None


class _ChoiceState:
    """What is known of a choice."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.has_refused = False
        self.has_called = False
        self.filters = ContentFilters()
        self._has_plain_reasoning = False  # thinking came outside `reasoning_details`, which then only repeat it

    @property
    def reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self.finish_reason or "", FinishReason.OTHER)
        if reason is FinishReason.STOP and self.has_called:
            return FinishReason.TOOL_CALLS
        if reason is FinishReason.STOP and self.has_refused:
            return FinishReason.REFUSAL
        return reason

    def end(self, index: int, details: dict[str, Json]) -> StreamEnd:
        """Return the end of the choice at `index`, with what the filters said of it beside `details`."""
        verdicts = {"content_filter_results": self.filters.verdicts} if self.filters.verdicts else {}
        return StreamEnd(self.reason, self.finish_reason, index, {**details, **verdicts} or None)

    def finish(self, reason: str) -> bool:
        """Note the service's word for the end; return whether it is heard."""
        if self.finish_reason is None or FINISH_REASONS.get(reason) is FinishReason.ERROR:
            self.finish_reason = reason
            return True
        return False

    def reasoning(self, delta: Delta, choice: int) -> list[StreamToken]:
        """The thinking of a piece, which up to three fields tell: one text, with its signatures."""
        plain = as_text(delta.reasoning_content) or as_text(delta.reasoning) or ""
        if not delta.reasoning_details:
            self._has_plain_reasoning = self._has_plain_reasoning or bool(plain)
            return [ReasoningDelta(plain, 0, choice)] if plain else []
        blocks = [_reasoning_block(detail, choice) for detail in as_objects(delta.reasoning_details)]
        if self._has_plain_reasoning or (plain and plain != "".join(block.text for block in blocks)):
            index = blocks[0].index if blocks else 0
            proofs = [ReasoningDelta("", block.index, choice, block.signature, block.redacted) for block in blocks]
            blocks = [ReasoningDelta(plain, index, choice), *proofs]
        return [block for block in blocks if block.text or block.signature or block.redacted]


def _reasoning_block(detail: dict[str, Json], choice: int) -> ReasoningDelta:
    return ReasoningDelta(
        as_text(detail.get("text")) or as_text(detail.get("summary")) or "",
        as_count(detail.get("index")) or 0,
        choice,
        signature=as_text(detail.get("signature")),
        redacted=as_text(detail.get("data")),
    )


def _content(content: Json, choice: int) -> list[StreamToken]:
    """The content of a piece, which is not empty: text, or with some gateways a list of parts, thinking among them."""
    if isinstance(content, str):
        return [TextDelta(content, 0, choice)]
    made: list[StreamToken] = []
    for part in as_objects(content):
        if part.get("type") == "thinking":
            thought = part.get("thinking")
            texts = [thought] if isinstance(thought, str) else [piece.get("text") for piece in as_objects(thought)]
            made += [ReasoningDelta(text, 0, choice) for text in map(as_text, texts) if text]
            if signature := as_text(part.get("signature")):
                made.append(ReasoningDelta("", 0, choice, signature=signature))
        elif text := as_text(part.get("text")):
            made.append(TextDelta(text, 0, choice))
    return made


def _logprobs(logprobs: Json, choice: int) -> list[StreamToken]:
    content = token_logprobs(within(logprobs, "content"))
    refusal = token_logprobs(within(logprobs, "refusal"))
    return [LogProbs(content, refusal, choice)] if content or refusal else []


def _real(word: Json) -> str | None:
    return real(word) if isinstance(word, str) else None


def read_error(status: int, headers: Mapping[str, str], body: bytes, *, provider: str = NAME) -> ProviderError:
    """Return the error that a refused request was answered with; header names are lower case."""
    return read_refusal(provider, status, headers, body, words=ERROR_WORDS, request_id_headers=REQUEST_ID_HEADERS)


build_request = ChatWriter(NAME).build_request


OPENAI_CHAT = Dialect[SseEvent](
    name=NAME,
    base_url="https://api.openai.com/v1",
    base_url_variable="OPENAI_BASE_URL",
    key_variable="OPENAI_API_KEY",
    build_request=build_request,
    authorize=authorize,
    parser=lambda: SseParser(lenient="whole", keep_unknown=True),
    decoder=ChatDecoder,
    read_error=read_error,
    read_limits=read_limits,
    request_id_headers=REQUEST_ID_HEADERS,
    models_path="/models",
    read_models=read_models,
    capabilities=Capabilities(
        images=True,
        tools=True,
        parallel_tools=True,
        reasoning=True,
        structured_output=True,
        logprobs=True,
        choices=True,
    ),
)


def chat_dialect(name: str, quirks: Quirks, **facts: Any) -> Dialect[SseEvent]:
    """Return the dialect of another server that speaks this API, with `facts` as fields of it."""
    own: dict[str, Any] = {
        "base_url_variable": None,
        "build_request": ChatWriter(name, quirks).build_request,
        "decoder": partial(ChatDecoder, provider=name),
        "read_error": partial(read_error, provider=name),
    }
    return replace(OPENAI_CHAT, name=name, **own | facts)
