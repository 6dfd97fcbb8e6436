"""OpenAI Responses, imitated: `POST /v1/responses`, `GET /v1/responses/ID?stream=true&starting_after=N`.

Order of events, fields and headers are those of api.openai.com: each item is added, told in
pieces and done, the thinking and its encrypted content first; the last event repeats
everything. `obfuscation` fills each delta up to a multiple of 16 bytes, as the service does.
"""

import re
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from rxstream.messages import Usage
from rxstream.simulator.api import Api, Asked, Content, Refusal, Resumption, letters, read_json, text_of, to_json
from rxstream.simulator.faults import ErrorEvent
from rxstream.simulator.openai_chat import ERRORS, headers, key_of, models, refuse
from rxstream.simulator.pieces import pieces
from rxstream.simulator.steps import Write
from rxstream.simulator.turn import Answer, OfferedTool, Turn
from rxstream.tokens import (
    FinishReason,
    Json,
    ReasoningDelta,
    RefusalDelta,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
)

INCOMPLETE_REASONS = {FinishReason.LENGTH: "max_output_tokens", FinishReason.CONTENT_FILTER: "content_filter"}
RESUMED = re.compile(r".*/responses/(resp_[^/]+)")


class _Item(Struct):
    type: str | None = None
    role: str | None = None
    content: Content = None
    output: Content = None


class _Tool(Struct):
    type: str = ""
    name: str = ""
    parameters: dict[str, Json] | None = None


class _StreamOptions(Struct):
    include_obfuscation: bool | None = None


class _Reasoning(Struct):
    effort: str | None = None
    summary: str | None = None


class _Body(Struct):
    model: str
    input: str | list[_Item]
    instructions: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_output_tokens: int | None = None
    tools: list[_Tool] | None = None
    reasoning: _Reasoning | None = None
    include: list[str] | None = None


def read(asked: Asked) -> Turn:
    """Read a request."""
    body = read_json(asked.body, _Body)
    if body.max_output_tokens is not None and body.max_output_tokens < 16:
        raise Refusal(
            400,
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, "
            f"but got {body.max_output_tokens} instead.",
            code="integer_below_min_value",
        )
    items = [_Item(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    said = [body.instructions or "", *(text_of(item.content) + text_of(item.output) for item in items)]
    prompts = [text_of(item.content) for item in items if item.role == "user"]
    options = body.stream_options or _StreamOptions()
    return Turn(
        model=body.model,
        prompt=prompts[-1] if prompts else "",
        stream=bool(body.stream),
        max_tokens=body.max_output_tokens,
        tools=tuple(
            OfferedTool(tool.name, tool.parameters or {}, takes_free_text=tool.type == "custom")
            for tool in body.tools or ()
            if tool.type in {"function", "custom"}
        ),
        tool_results=tuple(_last_results(items)),
        input_tokens=sum(3 + len(pieces(text)) for text in said if text) + 4,
        wants_reasoning=body.reasoning is not None and body.reasoning.effort not in {None, "none"},
        wants_logprobs="message.output_text.logprobs" in (body.include or ()),
        wants_padding=options.include_obfuscation is not False,
    )


def _last_results(items: list[_Item]) -> list[str]:
    """What the tools gave that were called last."""
    results: list[str] = []
    for item in items:
        if item.type in {"function_call_output", "custom_tool_call_output"}:
            results.append(text_of(item.output))
        elif item.role is not None or item.type in {"function_call", "custom_tool_call"}:
            results.clear()
    return results


def stream(answer: Answer, turn: Turn) -> Iterator[Write]:
    """Write `answer` as events."""
    return _Writer(answer, turn).writes()


class _OpenItem:
    """An item of the answer, as far as it is told; `index` is its place, `parts` the places of what it holds."""

    def __init__(self, index: int, fields: dict[str, Json]) -> None:
        self.index, self.fields = index, fields
        self.parts: list[dict[str, Json]] = []

    @property
    def id(self) -> Json:
        return self.fields["id"]


class _Writer:
    """Stream tokens in, events out."""

    def __init__(self, answer: Answer, turn: Turn) -> None:
        self._answer, self._turn = answer, turn
        self._padding = turn.chance("obfuscation")
        self._number = 0
        self._items: list[_OpenItem] = []
        self._speaking: _OpenItem | None = None
        """The message or the thinking that is open."""
        self._calls: dict[str, _OpenItem] = {}
        self._free_text = {tool.name for tool in turn.tools if tool.takes_free_text}

    def writes(self) -> Iterator[Write]:
        """The events; those that a resumed stream left behind are not written."""
        return (write for write in self._all() if self._number - 1 > self._turn.starting_after)

    def _all(self) -> Iterator[Write]:
        yield self._event("response.created", response=_response(self._turn, "in_progress"))
        yield self._event("response.in_progress", response=_response(self._turn, "in_progress"))
        for token in self._answer.tokens():
            yield from self._writes_of(token)
        yield from self._hush("incomplete" if self._answer.finish in INCOMPLETE_REASONS else "completed")
        yield self._last()

    def _last(self) -> Write:
        answer, output = self._answer, [item.fields for item in self._items]
        if answer.finish is FinishReason.ERROR:
            error = {"code": "server_error", "message": ERRORS[500][2]}
            failed = _response(self._turn, "failed", error=error, output=output)
            return self._event("response.failed", response=failed, is_end_mark=True)
        kind, final = _ending(answer)
        usage = _usage(answer.usage)
        return self._event(
            f"response.{kind}", response=_response(self._turn, output=output, usage=usage, **final), is_end_mark=True
        )

    def _writes_of(self, token: StreamToken) -> Iterator[Write]:
        match token:
            case ReasoningDelta():
                yield from self._think(token)
            case TextDelta():
                yield from self._say("output_text", "text", token.text)
            case RefusalDelta():
                yield from self._say("refusal", "refusal", token.text)
            case ToolCallStart():
                yield from self._hush()
                yield from self._begin_call(token)
            case ToolCallDelta():
                item = self._calls[token.key]
                kind, member = _told_by(item)
                item.fields[member] += token.arguments
                yield self._delta(item, kind, token.arguments)
            case ToolCall():
                item = self._calls[token.key]
                kind, member = _told_by(item)
                yield self._event(f"response.{kind}.done", **_of(item), **{member: item.fields[member]})
                yield self._done(item, "completed")
            case _:
                return

    def _think(self, token: ReasoningDelta) -> Iterator[Write]:
        """A piece of thinking, or its proof, which is known from the beginning and whole at the end."""
        item = self._speaking
        if item is None:
            proof = self._proof(token)
            item = self._speaking = self._add("rs", {"type": "reasoning", "encrypted_content": proof, "summary": []})
            yield self._added(item)
        if token.text and self._answer.reasoning_field != "hidden":
            if not item.parts:
                item.parts.append({"type": "summary_text", "text": ""})
                yield self._event(
                    "response.reasoning_summary_part.added", **_of(item), summary_index=0, part=item.parts[0]
                )
            item.parts[0]["text"] += token.text
            yield self._delta(item, "reasoning_summary_text", token.text, summary_index=0)
        if token.signature is not None or token.redacted is not None:
            item.fields["encrypted_content"] = f"{self._proof(token)}"
            yield from self._hush()

    def _proof(self, token: ReasoningDelta) -> str:
        return token.redacted or token.signature or f"gAAAAA{letters(self._turn.chance('proof'), 60)}"

    def _say(self, kind: str, member: str, piece: str) -> Iterator[Write]:
        """A piece of a message; text and a refusal are parts of their own."""
        item = self._speaking
        if item is None:
            item = self._speaking = self._add("msg", {"type": "message", "status": "in_progress", "content": []})
            item.fields["role"] = "assistant"
            yield self._added(item)
        if not item.parts or item.parts[-1]["type"] != kind:
            yield from self._hush_part(item)
            item.parts.append(_part(kind, member))
            yield self._event("response.content_part.added", **_part_of(item), part=item.parts[-1])
        item.parts[-1][member] += piece
        logprobs = self._logprobs(piece) if kind == "output_text" else {}
        yield self._delta(item, kind, piece, content_index=len(item.parts) - 1, **logprobs)

    def _hush(self, status: str = "completed") -> Iterator[Write]:
        """What ends the message or the thinking that is open."""
        item, self._speaking = self._speaking, None
        if item is None:
            return
        if item.fields["type"] == "reasoning":
            for part in item.parts:
                said: dict[str, Json] = {**_of(item), "summary_index": 0}
                yield self._event("response.reasoning_summary_text.done", **said, text=part["text"])
                yield self._event("response.reasoning_summary_part.done", **said, part=part)
            item.fields["summary"] = item.parts
            yield self._done(item, None)
            return
        yield from self._hush_part(item)
        item.fields["content"] = item.parts
        yield self._done(item, status)

    def _hush_part(self, item: _OpenItem) -> Iterator[Write]:
        if not item.parts:
            return
        part = item.parts[-1]
        member = "refusal" if part["type"] == "refusal" else "text"
        logprobs: dict[str, Json] = {"logprobs": []} if member == "text" else {}
        yield self._event(f"response.{part['type']}.done", **_part_of(item), **{member: part[member]}, **logprobs)
        yield self._event("response.content_part.done", **_part_of(item), part=part)

    def _begin_call(self, token: ToolCallStart) -> Iterator[Write]:
        named = {"call_id": token.id or _call_id(self._turn, token.key), "name": token.name}
        if token.name in self._free_text:
            item = self._add("ctc", {"type": "custom_tool_call", "status": "in_progress", "input": "", **named})
        else:
            item = self._add("fc", {"type": "function_call", "status": "in_progress", "arguments": "", **named})
        self._calls[token.key] = item
        yield self._added(item)

    def _add(self, prefix: str, fields: dict[str, Json]) -> _OpenItem:
        index = len(self._items)
        item = _OpenItem(index, {"id": _item_id(self._turn, prefix, index), **fields})
        self._items.append(item)
        return item

    def _added(self, item: _OpenItem) -> Write:
        return self._event("response.output_item.added", item=item.fields, output_index=item.index)

    def _done(self, item: _OpenItem, status: str | None) -> Write:
        if status is not None:
            item.fields["status"] = status
        return self._event("response.output_item.done", item=item.fields, output_index=item.index)

    def _logprobs(self, piece: str) -> dict[str, Json]:
        if not self._turn.wants_logprobs:
            return {"logprobs": []}
        likely = -round(self._padding.random() ** 4, 8)
        units = list(piece.encode("utf-8", "replace"))
        return {"logprobs": [{"token": piece, "bytes": units, "logprob": likely, "top_logprobs": []}]}

    def _delta(self, item: _OpenItem, kind: str, piece: str, **fields: Json) -> Write:
        padding: dict[str, Json] = {}
        if self._turn.wants_padding:
            size = -len(piece.encode("utf-8", "replace")) % 16
            padding["obfuscation"] = letters(self._padding, size)
        return self._event(f"response.{kind}.delta", 1, **_of(item), **fields, delta=piece, **padding)

    def _event(self, kind: str, tokens: int = 0, *, is_end_mark: bool = False, **fields: Json) -> Write:
        data = to_json({"type": kind, **dict(sorted(fields.items())), "sequence_number": self._number})
        self._number += 1
        return Write(b"event: %b\ndata: %b\n\n" % (kind.encode(), data), tokens, events=1, is_end_mark=is_end_mark)


def _of(item: _OpenItem) -> dict[str, Json]:
    return {"item_id": item.id, "output_index": item.index}


def _part_of(item: _OpenItem) -> dict[str, Json]:
    return {**_of(item), "content_index": len(item.parts) - 1}


def _told_by(item: _OpenItem) -> tuple[str, str]:
    """The events that tell of a call, and the member that holds what it is given."""
    is_custom = item.fields["type"] == "custom_tool_call"
    return ("custom_tool_call_input", "input") if is_custom else ("function_call_arguments", "arguments")


def _part(kind: str, member: str) -> dict[str, Json]:
    if kind == "refusal":
        return {"type": kind, member: ""}
    return {"type": kind, "annotations": [], "logprobs": [], member: ""}


def _ending(answer: Answer) -> tuple[str, dict[str, Json]]:
    """The last event of a good answer, and what it says of its status."""
    if answer.finish in INCOMPLETE_REASONS:
        reason = {"reason": INCOMPLETE_REASONS[answer.finish]}
        return "incomplete", {"status": answer.raw_finish or "incomplete", "incomplete_details": reason}
    return "completed", {"status": answer.raw_finish or "completed"}


def response_id(turn: Turn) -> str:
    """Return the id of the answer to `turn`."""
    return f"resp_{letters(turn.chance('id'), 50, '0123456789abcdef')}"


def _item_id(turn: Turn, prefix: str, index: int) -> str:
    return f"{prefix}_{letters(turn.chance(f'item {index}'), 50, '0123456789abcdef')}"


def _call_id(turn: Turn, key: str) -> str:
    return f"call_{letters(turn.chance(f'call {key}'), 24)}"


def _usage(usage: Usage) -> dict[str, Json]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens or 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
    }


def _response(turn: Turn, status: Json, **known: Json) -> dict[str, Json]:
    """The whole object, as it repeats what was asked; `known` is what is known by now."""
    unasked = dict.fromkeys(
        ("completed_at", "error", "incomplete_details", "instructions", "max_tool_calls", "moderation")
    )
    return {
        "id": response_id(turn),
        "object": "response",
        "created_at": turn.at,
        "status": status,
        "background": False,
        **unasked,
        "frequency_penalty": 0.0,
        "max_output_tokens": turn.max_tokens,
        "model": turn.model,
        "output": [],
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "prompt_cache_retention": None,
        "reasoning": {"effort": "medium" if turn.wants_reasoning else None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [_as_offered(tool) for tool in turn.tools],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
        **known,
    }


def _as_offered(tool: OfferedTool) -> Json:
    if tool.takes_free_text:
        return {"type": "custom", "name": tool.name}
    return {"type": "function", "name": tool.name, "parameters": tool.schema, "strict": False}


def whole(answer: Answer, turn: Turn) -> bytes:
    """Write `answer` as one response: what the last event of its stream holds."""
    *_, last = _Writer(answer, turn).writes()
    _, _, data = last.data.partition(b"data: ")
    return msgspec.json.format(to_json(msgspec.json.decode(data)["response"]), indent=2) + b"\n"


def error_event(fault: ErrorEvent) -> bytes:
    """Return an error as it comes inside a stream."""
    error = {
        "type": fault.kind or "server_error",
        "code": fault.code or "server_error",
        "message": fault.message or ERRORS[500][2],
        "param": None,
    }
    return b"event: error\ndata: %b\n\n" % to_json({"type": "error", "error": error})


def resumes(asked: Asked) -> Resumption | None:
    """Return which answer a GET asks for again, and after which event."""
    found = RESUMED.fullmatch(asked.path)
    after = asked.query.get("starting_after", "-1")
    if found is None or not re.fullmatch(r"-1|\d{1,9}", after, re.ASCII):
        return None
    return Resumption(found[1], int(after), asked.query.get("stream") == "true")


API = Api(
    name="openai.responses",
    paths=("POST /v1/responses", "POST /v1/responses/input_tokens", "GET /v1/responses/ID"),
    base_path="/v1",
    answers=lambda asked: asked.path.endswith("/responses"),
    lists_models=lambda _: False,
    key_of=key_of,
    read=read,
    stream=stream,
    whole=whole,
    headers=headers,
    refuse=refuse,
    error_event=error_event,
    models=models,
    ping=b": keep-alive\n\n",
    garbage=b'event: response.output_text.delta\ndata: {"delta": [\xff\xfe\x00 no JSON, no UTF-8\n\n',
    counts=lambda asked: asked.path.endswith("/responses/input_tokens"),
    count=lambda turn: to_json({"object": "response.input_tokens", "input_tokens": turn.input_tokens}),
    answer_id=response_id,
    resumes=resumes,
)
