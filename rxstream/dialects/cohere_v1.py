"""Cohere's chat API, version 1: one JSON object a line.

| line                    | becomes                                               |
| ----------------------- | ----------------------------------------------------- |
| `stream-start`          | `StreamStart`                                         |
| `text-generation`       | `TextDelta`                                           |
| `tool-calls-chunk`      | `ToolCallStart`, `ToolCallDelta`; its text is a plan  |
| `tool-calls-generation` | `ToolCall`, begun here unless chunks had begun it     |
| `citation-generation`   | `Citation`, one for each                              |
| `search-results`        | nothing; its documents are what citations name        |
| `stream-end`            | `UsageReport`, `StreamEnd`; a `ProviderError`         |
| anything else           | nothing; a `RawEvent`, if asked for                   |

What is odd about it:

- Calls have no ids, and their arguments are an object, even where chunks of text came before it. A result
  goes back with its whole call, which the name of the tool tells: `Message.tool_result(None, …, name="look")`.
- The last message of the user is apart from the history, and so are the results that come after it.
- `stream-end` repeats the whole answer. It may say `ERROR`: the end comes, and after it the error.

Facts: cohere-ai/cohere-python `src/cohere/types/chat_stream_*_event.py`, `tool_call_delta.py`, `tool.py`,
`src/cohere/raw_base_client.py`.
"""

from functools import partial
from typing import cast

from msgspec import Struct, structs

from rxstream.dialect import Capabilities, Decoder, Dialect, HttpRequest
from rxstream.dialects._answers import read_cohere_limits
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
from rxstream.errors import TruncatedStreamError
from rxstream.framing.ndjson import NdjsonParser
from rxstream.framing.tolerant_json import JsonReader
from rxstream.messages import ChatRequest, Message, TextPart, Tool, ToolCallPart, ToolResultPart
from rxstream.tokens import (
    Citation,
    FinishReason,
    Json,
    RawEvent,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCall,
)

NAME = "cohere.v1"
_write = RequestWriter(NAME)
ROLES = {"system": "SYSTEM", "developer": "SYSTEM", "user": "USER", "assistant": "CHATBOT"}
PYTHON_TYPES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
}
"""The types of a JSON schema, as the API calls them."""


class CallPiece(Struct, gc=False):
    """The next piece of a tool call, or of the plan for it."""

    index: int = 0
    name: str | None = None
    parameters: str | None = None
    text: str | None = None


class Response(Struct, gc=False):
    """What the end repeats, as far as it is news."""

    meta: Json = None


class Line(Struct, gc=False):
    """Any line of the stream; only what is read of it."""

    event_type: str = ""
    text: str | None = None
    generation_id: str | None = None
    tool_call_delta: CallPiece | None = None
    tool_calls: Json = None
    citations: Json = None
    documents: Json = None
    finish_reason: str | None = None
    response: Response | None = None
    error: Json = None


class ChatDecoder(Decoder[bytes]):
    """Lines of the chat API in, stream tokens out."""

    def __init__(self, raw_events: bool = False) -> None:
        self.ended = False
        self._raw_events = raw_events
        self._json = JsonReader(Line)
        self._read = self._json.read
        self._calls = ToolCalls()  # by their place
        self._given = 0
        self._plan: list[str] = []
        self._documents: dict[str, dict[str, Json]] = {}

    @property
    def has_surrogates(self) -> bool:
        return self._json.has_surrogates

    def feed(self, frame: bytes, /) -> list[StreamToken]:
        if self.ended:
            return []
        line = self._read(frame)
        if line.event_type == "text-generation":  # the usual line goes the short way
            return [TextDelta(line.text)] if line.text else []
        return self._feed_other(line, frame)

    def flush(self) -> list[StreamToken]:
        if not self.ended:
            raise TruncatedStreamError("the stream ended without stream-end")
        return []

    def fail(self, error: Exception, /) -> list[StreamToken]:  # noqa: ARG002  # whatever broke the stream
        return self._calls.cut()

    def _feed_other(self, line: Line, frame: bytes) -> list[StreamToken]:
        match line.event_type:
            case "stream-start":
                return [StreamStart(line.generation_id or None, None, NAME)]
            case "tool-calls-chunk":
                return self._add(line.tool_call_delta or CallPiece(), line.text) + self._unmapped(line, frame)
            case "tool-calls-generation":
                return [token for call in as_objects(line.tool_calls) for token in self._whole(call)]
            case "citation-generation":
                return [self._citation(citation) for citation in as_objects(line.citations)]
            case "search-results":
                self._note_documents(line.documents)
                return self._unmapped(line, frame)
            case "stream-end":
                return self._end(line)
            case _:
                if not line.event_type and (complaint := complaint_in(frame)):
                    raise complaint
                return self._unmapped(line, frame)

    def _add(self, piece: CallPiece, text: str | None) -> list[StreamToken]:
        self._plan.append(piece.text or text or "")
        if not piece.name and not piece.parameters:
            return []
        begun = self._calls.begin_or_update(piece.index, name=piece.name)
        return begun + self._calls.add(piece.index, piece.parameters or "")

    def _whole(self, call: dict[str, Json]) -> list[StreamToken]:
        """A call as it is given in the end, with an object of arguments."""
        slot, self._given = self._given, self._given + 1
        if slot in self._calls:
            made = self._calls.finish(slot)
        else:
            made = self._calls.begin_or_update(slot, name=as_text(call.get("name")))
            made += self._calls.give(slot, call.get("parameters") or {})
            made += self._calls.finish(slot)
        return [structs.replace(token, arguments_raw=None) if isinstance(token, ToolCall) else token for token in made]

    def _note_documents(self, documents: Json) -> None:
        named = [(as_text(document.get("id")), document) for document in as_objects(documents)]
        self._documents |= {name: document for name, document in named if name is not None}

    def _citation(self, raw: dict[str, Json]) -> Citation:
        """The first document of a citation that is known, and which part of the answer rests on it."""
        names = [name for name in as_list(raw.get("document_ids")) if isinstance(name, str)]
        document = next((self._documents[name] for name in names if name in self._documents), None)
        return Citation(
            url=as_text(within(document, "url")),
            title=as_text(within(document, "title")),
            text=as_text(within(document, "snippet")) or as_text(within(document, "text")),
            start=as_count(raw.get("start")),
            end=as_count(raw.get("end")),
            raw=passed_on(raw),
        )

    def _end(self, line: Line) -> list[StreamToken]:
        self.ended = True
        word = line.finish_reason
        reason = FINISH_REASONS.get(word or "", FinishReason.OTHER)
        made = self._calls.finish_all(cut_short=reason in CUT_SHORT)
        made += usage_report(line.response and line.response.meta)
        if reason is FinishReason.STOP and self._given:
            reason = FinishReason.TOOL_CALLS  # the API has no word for it
        error = end_error(word, line.error, None)
        plan = "".join(self._plan)
        details: dict[str, Json] | None = {"tool_plan": plan} if plan else None
        made.append(StreamEnd(reason if error is None else FinishReason.ERROR, word, details=details))
        if error is not None:
            error.completed = made
            raise error
        return made

    def _unmapped(self, line: Line, frame: bytes) -> list[StreamToken]:
        return [RawEvent(line.event_type, frame.decode("utf-8", "replace"))] if self._raw_events else []


def build_request(request: ChatRequest) -> HttpRequest:
    """Write `request` down as the API wants it.

    - The last message goes as `message`, if it is the user's; results of tools that stand last go as
      `tool_results`, beside an empty message. All else is `chat_history`.
    - A result belongs to the call of its id, or else to the first call of its tool that has none yet.
    - Of a tool's schema the API takes the names, types and descriptions of the arguments.
    - Calls are always left to the model, and thinking can't go back: it is left out.

    Raises `ConfigurationError` for what the API can't be asked.
    """
    _write.refuse_lacking(
        {
            "tool_choice": request.tool_choice not in {None, "auto"},
            "strict tools": any(tool.strict for tool in request.tools),
        }
    )
    *history, last = _turns(request.messages)
    if last["role"] not in {"USER", "TOOL"}:
        raise _write.unable("the last message must be the user's, or a tool's result")
    given: dict[str, Json] = {
        "chat_history": cast(list[Json], history),
        "tool_results": last.get("tool_results"),
        "tools": [_tool(tool) for tool in request.tools],
        **options(request, _write, schema_name="schema"),
    }
    body: dict[str, Json] = {"model": request.model, "message": last.get("message", ""), "stream": True}
    headers = {"content-type": "application/json", "accept": "application/stream+json"}
    return HttpRequest("/v1/chat", _write.json(body | stated(given) | request.extra), headers)


def _turns(messages: list[Message]) -> list[dict[str, Json]]:
    """The messages as the API's turns; results of neighbouring messages are one."""
    turns: list[dict[str, Json]] = []
    calls: list[ToolCallPart] = []
    for message in messages:
        results = [part for part in message.parts if isinstance(part, ToolResultPart)]
        if results and turns and turns[-1]["role"] == "TOOL":
            cast(list[Json], turns[-1]["tool_results"]).extend(_result(result, calls) for result in results)
        elif results:
            turns.append({"role": "TOOL", "tool_results": [_result(result, calls) for result in results]})
        made = [part for part in message.parts if isinstance(part, ToolCallPart)]
        calls += made
        if message.role != "tool" and (made or message.text or not results):
            turns.append(_turn(message, made))
    if not turns:
        raise _write.unable("a request needs a message")
    return turns


def _turn(message: Message, calls: list[ToolCallPart]) -> dict[str, Json]:
    said = "".join(part.text for part in message.parts if isinstance(part, TextPart))
    turn: dict[str, Json] = {"role": ROLES[message.role], "message": said}
    if calls and message.role != "assistant":
        raise _write.unable(f"a {message.role} message can't hold tool calls; only the assistant makes them")
    return {**turn, "tool_calls": [_call(call) for call in calls]} if calls else turn


def _call(call: ToolCallPart) -> Json:
    return {"name": call.name, "parameters": _write.arguments(call)}


def _result(result: ToolResultPart, calls: list[ToolCallPart]) -> Json:
    """A result with its call, which is then none of `calls` any more."""
    named = [call for call in calls if call.id is not None and call.id == result.id]
    call = next(iter(named or [call for call in calls if call.name == (result.name or result.id)]), None)
    if call is None:
        raise _write.unable("a tool's result names neither the id of a call that has no result yet nor its tool")
    calls.remove(call)
    said: Json = {"error": result.content} if result.is_error else {"result": result.content}
    return {"call": _call(call), "outputs": [said]}


def _tool(tool: Tool) -> Json:
    required = as_list(tool.parameters.get("required"))
    properties = tool.parameters.get("properties")
    definitions = {
        name: _parameter(schema, is_required=name in required)
        for name, schema in (cast(dict[str, Json], properties) if isinstance(properties, dict) else {}).items()
    }
    return {"name": tool.name, "description": tool.description or "", "parameter_definitions": definitions}


def _parameter(schema: Json, *, is_required: bool) -> Json:
    described = stated({"description": within(schema, "description")})
    kind = PYTHON_TYPES.get(as_text(within(schema, "type")) or "", "str")
    return {**described, "type": kind, "required": is_required}


COHERE_V1 = Dialect[bytes](
    name=NAME,
    base_url=BASE_URL,
    base_url_variable=BASE_URL_VARIABLE,
    key_variable=KEY_VARIABLE,
    build_request=build_request,
    authorize=authorize,
    parser=lambda: NdjsonParser(lenient="whole"),
    decoder=ChatDecoder,
    read_error=partial(refused, NAME),
    read_limits=read_cohere_limits,
    request_id_headers=REQUEST_ID_HEADERS,
    models_path=MODELS_PATH,
    read_models=read_models,
    capabilities=Capabilities(tools=True, parallel_tools=True, structured_output=True),
)
