"""Cohere's chat API, version 2.

| event                            | becomes                                        |
| -------------------------------- | ---------------------------------------------- |
| `message-start`                  | `StreamStart`                                  |
| `content-start`, `content-delta` | `TextDelta`, `ReasoningDelta`; `LogProbs`      |
| `tool-call-start`                | `ToolCallStart`                                |
| `tool-call-delta`                | `ToolCallDelta`                                |
| `tool-call-end`                  | `ToolCall`                                     |
| `citation-start`                 | `Citation`                                     |
| `tool-plan-delta`                | `tool_plan`, in the details of the end         |
| `message-end`                    | `UsageReport`, `StreamEnd`; a `ProviderError`  |
| anything else                    | nothing; a `RawEvent`, if asked for            |

What is odd about it:

- `tool_calls` and `citations` of an event are one object each, not lists.
- `index` counts contents, calls and citations each by themselves.
- A plan for tools is no part of the answer: it is not shown as text.
- `message-end` may say `ERROR`, with the reason beside it. The stream is whole then, and says that it failed:
  the end comes, and after it the error.
- `[DONE]` comes after `message-end`, and says nothing more.
- Arguments may be pretty-printed, or not come at all.

Facts: cohere-ai/cohere-python `src/cohere/types/{v2chat_stream_response,chat_*_event*,citation,usage}.py`,
`src/cohere/v2/raw_client.py`.
"""

import math
from functools import partial
from typing import cast

from msgspec import Struct

from rxstream.dialect import Capabilities, Decoder, Dialect, HttpRequest
from rxstream.dialects._answers import read_cohere_limits
from rxstream.dialects._chat_requests import HEADERS, ChatWriter, Quirks
from rxstream.dialects._cohere import (
    BASE_URL,
    BASE_URL_VARIABLE,
    CUT_SHORT,
    FINISH_REASONS,
    KEY_VARIABLE,
    MODELS_PATH,
    REQUEST_ID_HEADERS,
    authorize,
    complaint_in,
    end_error,
    options,
    read_models,
    refused,
    usage_report,
)
from rxstream.dialects._requests import RequestWriter, stated
from rxstream.dialects._tool_calls import ToolCalls
from rxstream.dialects._values import as_count, as_list, as_objects, as_text, passed_on, within
from rxstream.errors import ProtocolError, TruncatedStreamError
from rxstream.framing.sse import SseEvent, SseParser, UnknownLines
from rxstream.framing.tolerant_json import JsonReader
from rxstream.messages import ChatRequest, Tool, ToolNamed
from rxstream.tokens import (
    Citation,
    FinishReason,
    Json,
    LogProbs,
    RawEvent,
    ReasoningDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    TokenLogProb,
)

NAME = "cohere.v2"
_write = RequestWriter(NAME)
_chat = ChatWriter(NAME, Quirks(developer_role="system", thinking="text_parts"))


class FunctionPiece(Struct, gc=False):
    """What an event says about the function to call."""

    name: str | None = None
    arguments: str | None = None


class CallPiece(Struct, gc=False):
    """The next piece of a tool call."""

    id: str | None = None
    function: FunctionPiece | None = None


class ContentPiece(Struct, gc=False):
    """The next piece of a content block."""

    text: str | None = None
    thinking: str | None = None


class MessagePiece(Struct, gc=False):
    """The message, as far as an event goes; lists stand only in its announcement."""

    content: ContentPiece | list[Json] | None = None
    tool_calls: CallPiece | list[Json] | None = None
    tool_plan: str | None = None
    citations: dict[str, Json] | list[Json] | None = None


class Delta(Struct, gc=False):
    """What an event adds."""

    message: MessagePiece | None = None
    finish_reason: str | None = None
    usage: Json = None
    error: Json = None
    error_type: Json = None


class Event(Struct, gc=False):
    """Any event of the stream; only what is read of it."""

    type: str = ""
    index: int = 0
    delta: Delta | None = None
    id: str | None = None
    logprobs: Json = None


class ChatDecoder(Decoder[SseEvent]):
    """Events of the chat API in, stream tokens out."""

    def __init__(self, raw_events: bool = False) -> None:
        self.ended = False
        self._raw_events = raw_events
        self._json = JsonReader(Event)
        self._read = self._json.read
        self._calls = ToolCalls()  # by their index
        self._plan: list[str] = []

    @property
    def has_surrogates(self) -> bool:
        return self._json.has_surrogates

    def feed(self, frame: SseEvent, /) -> list[StreamToken]:
        if self.ended:
            return []
        if frame.data[:1] != b"{" or isinstance(frame, UnknownLines):
            return self._feed_odd(frame)
        event = self._read(frame.data)
        delta = event.delta
        if event.type == "content-delta" and delta is not None and event.logprobs is None:
            message = delta.message
            if message is not None and type(message.content) is ContentPiece:  # the usual event goes the short way
                content = message.content
                if content.text:
                    return [TextDelta(content.text, event.index)]
                return [ReasoningDelta(content.thinking, event.index)] if content.thinking else []
        return self._feed_other(event, frame)

    def flush(self) -> list[StreamToken]:
        if not self.ended:
            raise TruncatedStreamError("the stream ended without message-end")
        return []

    def fail(self, error: Exception, /) -> list[StreamToken]:  # noqa: ARG002  # whatever broke the stream
        return self._calls.cut()

    def _feed_odd(self, frame: SseEvent) -> list[StreamToken]:
        """Take what does not look like an event: bare JSON that complains, or nothing to speak of."""
        if frame.is_done or not frame.data.strip():
            return []
        if complaint := complaint_in(frame.data):
            raise complaint
        if not isinstance(frame, UnknownLines):
            raise ProtocolError("an event of the stream is no JSON object")
        return self._unmapped(frame.event, frame)

    def _feed_other(self, event: Event, frame: SseEvent) -> list[StreamToken]:
        kind = event.type or frame.event
        delta = event.delta or Delta()
        message = delta.message or MessagePiece()
        match kind:
            case "message-start":
                return [StreamStart(event.id or None, None, NAME)]
            case "content-start" | "content-delta":
                return [*_content(message.content, event.index), *_logprobs(event.logprobs)]
            case "tool-call-start" if isinstance(message.tool_calls, CallPiece):
                return self._calls.finish(event.index) + self._call(event.index, message.tool_calls)
            case "tool-call-delta" if isinstance(message.tool_calls, CallPiece):
                return self._call(event.index, message.tool_calls)
            case "tool-call-end":
                return self._calls.finish(event.index)
            case "tool-plan-delta":
                self._plan.append(message.tool_plan or "")
                return self._unmapped(kind, frame)
            case "citation-start" if isinstance(message.citations, dict):
                return [_citation(message.citations)]
            case "message-end":
                return self._end(delta)
            case "content-end" | "citation-end":
                return []
            case _:
                if not event.type and (complaint := complaint_in(frame.data)):
                    raise complaint
                return self._unmapped(kind, frame)

    def _call(self, index: int, piece: CallPiece) -> list[StreamToken]:
        function = piece.function or FunctionPiece()
        begun = self._calls.begin_or_update(index, id=piece.id, name=function.name)
        return begun + self._calls.add(index, function.arguments or "")

    def _end(self, delta: Delta) -> list[StreamToken]:
        self.ended = True
        word = delta.finish_reason
        reason = FINISH_REASONS.get(word or "", FinishReason.OTHER)
        made = self._calls.finish_all(cut_short=reason in CUT_SHORT) + usage_report(delta.usage)
        error = end_error(word, delta.error, delta.error_type)
        plan = "".join(self._plan)
        details: dict[str, Json] | None = {"tool_plan": plan} if plan else None
        made.append(StreamEnd(reason if error is None else FinishReason.ERROR, word, details=details))
        if error is not None:
            error.completed = made
            raise error
        return made

    def _unmapped(self, kind: str, frame: SseEvent) -> list[StreamToken]:
        return [RawEvent(kind, frame.text)] if self._raw_events else []


def _content(content: ContentPiece | list[Json] | None, index: int) -> list[StreamToken]:
    if not isinstance(content, ContentPiece):
        return []
    thought: list[StreamToken] = [ReasoningDelta(content.thinking, index)] if content.thinking else []
    return [*thought, TextDelta(content.text, index)] if content.text else thought


def _logprobs(logprobs: Json) -> list[StreamToken]:
    """How likely a piece of text was; one of several tokens is as likely as all of them together."""
    text = as_text(within(logprobs, "text"))
    likely = [one for one in as_list(within(logprobs, "logprobs")) if isinstance(one, int | float)]
    if text is None or not likely or not math.isfinite(total := sum(likely)):
        return []
    return [LogProbs([TokenLogProb(text, float(total))])]


def _citation(raw: dict[str, Json]) -> Citation:
    """The first source of a citation, and which part of the answer rests on it."""
    documents = [within(source, "document") for source in as_objects(raw.get("sources"))]
    document = next((document for document in documents if document), None)
    return Citation(
        url=as_text(within(document, "url")),
        title=as_text(within(document, "title")),
        text=as_text(within(document, "snippet")) or as_text(within(document, "text")),
        start=as_count(raw.get("start")),
        end=as_count(raw.get("end")),
        index=as_count(raw.get("content_index")) or 0,
        raw=passed_on(raw),
    )


def build_request(request: ChatRequest) -> HttpRequest:
    """Write `request` down as the API wants it.

    - Messages are those of `openai.chat`; thinking goes back as parts of the content.
    - `tool_choice` may be `required` or `none`, not a tool by name; `auto` is what happens unasked.
    - If one tool is strict, all are: the API has one switch.
    - `reasoning.budget_tokens` is the budget of thinking; the effort `none` switches thinking off, and there is
      no other effort.

    Raises `ConfigurationError` for what the API can't be asked.
    """
    effort = request.reasoning and request.reasoning.effort
    _write.refuse_lacking(
        {
            "tool_choice of a tool by name": isinstance(request.tool_choice, ToolNamed),
            "reasoning.effort": effort not in {None, "none"},
            "number of log probabilities": bool(request.logprobs),
        }
    )
    choices = {"required": "REQUIRED", "none": "NONE"}
    given: dict[str, Json] = {
        "tools": [_tool(tool) for tool in request.tools],
        "tool_choice": choices.get(request.tool_choice) if isinstance(request.tool_choice, str) else None,
        "strict_tools": any(tool.strict for tool in request.tools) or None,
        **options(request, _write, schema_name="json_schema"),
        "logprobs": None if request.logprobs is None else True,
        "thinking": _thinking(request),
    }
    body: dict[str, Json] = {
        "model": request.model,
        "messages": [_without_nulls(message) for message in _chat.messages(request)],
        "stream": True,
    }
    return HttpRequest("/v2/chat", _write.json(body | stated(given) | request.extra), HEADERS)


def _without_nulls(message: Json) -> Json:
    return {name: value for name, value in cast(dict[str, Json], message).items() if value is not None}


def _tool(tool: Tool) -> Json:
    described = {} if tool.description is None else {"description": tool.description}
    return {"type": "function", "function": {"name": tool.name, **described, "parameters": tool.parameters}}


def _thinking(request: ChatRequest) -> Json:
    if request.reasoning is None:
        return None
    if request.reasoning.effort == "none":
        return {"type": "disabled"}
    return stated({"type": "enabled", "token_budget": request.reasoning.budget_tokens})


COHERE_V2 = Dialect[SseEvent](
    name=NAME,
    base_url=BASE_URL,
    base_url_variable=BASE_URL_VARIABLE,
    key_variable=KEY_VARIABLE,
    build_request=build_request,
    authorize=authorize,
    parser=lambda: SseParser(lenient="whole", keep_unknown=True),
    decoder=ChatDecoder,
    read_error=partial(refused, NAME),
    read_limits=read_cohere_limits,
    request_id_headers=REQUEST_ID_HEADERS,
    models_path=MODELS_PATH,
    read_models=read_models,
    capabilities=Capabilities(
        images=True,
        tools=True,
        parallel_tools=True,
        reasoning=True,
        structured_output=True,
        logprobs=True,
    ),
)
