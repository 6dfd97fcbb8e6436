"""What is asked and what came: requests, and the message that a stream adds up to.

`ChatRequest` says what to ask in one vocabulary; a dialect writes it down in the
words of its service. `MessageAssembler` folds the tokens of an answer into an
`AssembledMessage`, in time linear in their text.
"""

from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from operator import length_hint
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct, field

from rxstream import markup
from rxstream.tokens import (
    Citation,
    FinishReason,
    Json,
    LogProbs,
    Media,
    ReasoningDelta,
    RefusalDelta,
    Retract,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    TokenLogProb,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
    UsageReport,
    read_arguments,
)

BYTES_PER_TOKEN = 4
"""Of UTF-8, in an estimate of how many tokens of a model a text is."""


class TextPart(Struct, frozen=True, tag=True):
    """Text within a message."""

    text: str


class ImagePart(Struct, frozen=True, tag=True):
    """An image within a message: the address of one, or its bytes with their media type."""

    url: str | None = None
    data: bytes | None = None
    media_type: str | None = None
    """Such as `image/png`; needed with `data`."""
    detail: str | None = None
    """How closely the model should look, where the service lets one say: `low`, `high`, `auto`."""

    def __post_init__(self) -> None:
        if (self.url is None) == (self.data is None):
            raise ValueError("an ImagePart has either a url or data")
        if self.data is not None and self.media_type is None:
            raise ValueError("an ImagePart with data needs its media_type, such as image/png")


class ReasoningPart(Struct, frozen=True, tag=True):
    """Thinking of the model, sent back as it came."""

    text: str
    signature: str | None = None
    redacted: str | None = None
    item_id: str | None = None


class ToolCallPart(Struct, frozen=True, tag=True):
    """A call that the model made."""

    id: str | None
    name: str
    arguments: str
    """JSON text; of a tool that takes free text, that text as a JSON string."""
    item_id: str | None = None
    is_free_text: bool = False


class ToolResultPart(Struct, frozen=True, tag=True):
    """What running a call gave."""

    id: str | None
    """The id of the call; `None` where the service gave it none."""
    content: str
    is_error: bool = False
    name: str | None = None
    """The name of the tool, for services that match results by it."""


Part: TypeAlias = TextPart | ImagePart | ReasoningPart | ToolCallPart | ToolResultPart
Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]


class Message(Struct, frozen=True):
    """One turn of a conversation."""

    role: Role
    content: str | list[Part]
    name: str | None = None
    """Who speaks, where several share a role."""

    @classmethod
    def tool_result(cls, id: str | None, content: str, *, is_error: bool = False, name: str | None = None) -> "Message":
        """Return the answer to the tool call `id`, of the tool `name`.

        With both from the call that is answered, it is right for every service: some know calls by their
        id, some by the name of the tool and the order of the calls.
        """
        return cls("tool", [ToolResultPart(id, content, is_error, name)])

    @property
    def parts(self) -> list[Part]:
        """The content as parts; plain text is one `TextPart`, and no text is none."""
        if isinstance(self.content, str):
            return [TextPart(self.content)] if self.content else []
        return self.content

    @property
    def text(self) -> str:
        """The text of the content, joined with nothing between."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


class Tool(Struct, frozen=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Json] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON Schema of the arguments."""
    strict: bool | None = None
    """Whether the service should hold the arguments to the schema."""
    takes_free_text: bool = False
    """Whether the model gives it plain text in place of arguments; `parameters` say nothing then."""


class ToolNamed(Struct, frozen=True):
    """Tool choice: this tool must be called."""

    name: str


class JsonSchema(Struct, frozen=True):
    """Response format: JSON that fits a schema."""

    name: str
    schema: dict[str, Json]
    strict: bool = True


class Reasoning(Struct, frozen=True):
    """How much the model should think before it answers."""

    effort: str | None = None
    """A word of the service, such as `low`, `medium` or `high`."""
    budget_tokens: int | None = None


class ChatRequest(Struct, frozen=True, kw_only=True):
    """What to ask a model, in one vocabulary for every service."""

    model: str
    messages: list[Message]
    tools: list[Tool] = field(default_factory=list[Tool])
    tool_choice: Literal["auto", "none", "required"] | ToolNamed | None = None
    parallel_tool_calls: bool | None = None
    response_format: Literal["text", "json"] | JsonSchema | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: list[str] = field(default_factory=list[str])
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: int | None = None
    """How many choices to ask for."""
    logprobs: int | None = None
    """How many likely tokens to report at each place; 0 reports the chosen one alone."""
    reasoning: Reasoning | None = None
    extra: dict[str, Json] = field(default_factory=dict[str, Json])
    """Goes into the body untouched, over what rxstream would have put there."""

    @classmethod
    def of(cls, prompt: "str | list[Message] | ChatRequest", **options: Json) -> "ChatRequest":
        """Return the request that `prompt` stands for, with `options` as fields of it.

        Raises `TypeError` for an unknown option or a missing model.
        """
        if isinstance(prompt, ChatRequest):
            return msgspec.structs.replace(prompt, **options) if options else prompt
        messages = [Message("user", prompt)] if isinstance(prompt, str) else prompt
        return cls(messages=messages, **options)


class AssembledToolCall(Struct, frozen=True, omit_defaults=True):
    """A tool call of an answer."""

    id: str | None
    name: str
    arguments: Json
    """The value of the arguments; `None` if their text never became JSON, or is not meant to."""
    arguments_raw: str | None
    """The exact text of the arguments; `None` where the service sends an object, not text."""
    item_id: str | None = None
    """The service's name for the call itself, where that is another than `id`."""

    @property
    def shown(self) -> str:
        """The arguments as text to read: over several lines once they are whole, before that as far as they came."""
        if self.arguments is None:
            return self.arguments_raw or ""
        return msgspec.json.format(msgspec.json.encode(self.arguments), indent=2).decode()


class Usage(Struct, frozen=True):
    """Token counts as the service states them, nothing added up; unknown is `None`."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    total_tokens: int | None = None


class ErrorInfo(Struct, frozen=True):
    """What went wrong, in the service's words where it spoke."""

    type: str | None
    code: str | int | None
    message: str


class AssembledChoice(Struct, frozen=True, omit_defaults=True):
    """One of several answers to a request."""

    index: int
    text: str
    finish_reason: str | None
    reasoning: str = ""
    refusal: str = ""
    tool_calls: list[AssembledToolCall] = []  # a literal, since only that default is known to be left out


class AssembledMessage(Struct, frozen=True):
    """What an answer added up to, whole or as far as it came.

    Text, reasoning, refusal, calls and finish reason are those of the first
    choice; with several, `choices` holds each.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: list[AssembledToolCall] = field(default_factory=list[AssembledToolCall])
    finish_reason: str | None = None
    """The service's own word."""
    usage: Usage | None = None
    error: ErrorInfo | None = None
    complete: bool = False
    """Whether the stream said that it is whole, and carried no error: beside one only where its end itself says
    that the answer failed."""
    choices: list[AssembledChoice] = field(default_factory=list[AssembledChoice])
    id: str | None = None
    model: str | None = None
    provider: str | None = None
    reason: FinishReason | None = None
    """The finish reason in the vocabulary of every service."""
    parts: list[Part] = field(default_factory=list[Part])
    """The first choice's content in order, as it goes back in the next request."""
    citations: list[Citation] = field(default_factory=list[Citation])
    media: list[Media] = field(default_factory=list[Media])
    logprobs: list[TokenLogProb] = field(default_factory=list[TokenLogProb])
    usage_raw: dict[str, Json] | None = None
    """The service's own usage object."""
    usage_source: Literal["provider", "estimated", "unknown"] | None = None
    """Whose counts `usage` has: "estimated" where `count_tokens` filled them in; `None` where there are none."""
    usage_is_whole: bool = False
    """Whether they were given after all that came of the answer, and not in the middle of it."""

    @property
    def used(self) -> UsageReport:
        """What to account for, however the stream ended: the service's own counts, or else an estimate so labelled.

        The service's word stands once it has counted all that came. If the stream failed or was let go of before
        that, `output_tokens` are a quarter of the UTF-8 bytes that came, no less than the service had counted
        so far, and `source` is "estimated"; thinking that is not shown is not in it. What nobody knows is `None`.
        """
        usage = self.usage or Usage()
        counts = {name: getattr(usage, name) for name in Usage.__struct_fields__}
        told = UsageReport(**counts, source=self.usage_source or "unknown", raw=self.usage_raw)
        counted = usage.output_tokens
        if counted is not None and (self.complete or self.usage_is_whole):
            return told
        count = -(-sum(len(text.encode(errors="surrogatepass")) for text in self._written()) // BYTES_PER_TOKEN)
        if count <= (counted or 0):
            return told
        return msgspec.structs.replace(told, output_tokens=count, total_tokens=None, source="estimated")

    def _written(self) -> Iterator[str]:
        """What the model wrote, of all choices."""
        for choice in self.choices or [self]:
            yield from (choice.text, choice.reasoning, choice.refusal)
            for call in choice.tool_calls:
                arguments = call.arguments_raw
                yield call.name + (msgspec.json.encode(call.arguments).decode() if arguments is None else arguments)

    def as_message(self) -> Message:
        """Return the answer as a turn of the conversation, thinking and signatures included."""
        return Message("assistant", self.parts)

    def _repr_html_(self) -> str:
        """What a notebook shows: the text as it is; `rxstream.notebook` renders its Markdown."""
        parts = [
            markup.folded("thinking", markup.plain(self.reasoning)) if self.reasoning else "",
            markup.plain(self.text + self.refusal),
            *(markup.box(f"{markup.text(call.name)}{markup.code(call.shown)}") for call in self.tool_calls),
            markup.box(markup.text(f"{self.error.type}: {self.error.message}")) if self.error else "",
            markup.quiet(markup.text(self._facts())),
        ]
        return "".join(parts)

    def _facts(self) -> str:
        usage, is_estimate = self.usage or Usage(), self.usage_source == "estimated"
        facts = [
            self.model,
            self.finish_reason,
            f"{usage.input_tokens} in" if usage.input_tokens is not None else None,
            f"{'≈ ' * is_estimate}{usage.output_tokens} out" if usage.output_tokens is not None else None,
            None if self.complete else "not complete",
        ]
        return " · ".join(fact for fact in facts if fact)


class _Block:
    """Text of one kind in one content block, growing."""

    __slots__ = ("buffer", "choice", "index", "item_id", "kind", "redacted", "signature", "write")

    def __init__(self, kind: type[StreamToken], index: int, choice: int) -> None:
        self.kind, self.index, self.choice = kind, index, choice
        self.buffer = StringIO()
        self.write = self.buffer.write
        self.signature: str | None = None
        self.redacted: str | None = None
        self.item_id: str | None = None

    @property
    def text(self) -> str:
        return self.buffer.getvalue()

    def cut(self, length: int) -> None:
        """Leave the first `length` characters, and write on from there."""
        self.buffer.seek(length)
        self.buffer.truncate()


class _Run:
    """Text of one block with no other text of its choice between."""

    __slots__ = ("block", "start")

    def __init__(self, block: _Block) -> None:
        self.block = block
        self.start = block.buffer.tell()


class _Call:
    """A tool call, growing."""

    __slots__ = ("arguments", "buffer", "choice", "id", "is_free_text", "item_id", "name", "raw")

    def __init__(self, id: str | None, name: str, choice: int) -> None:
        self.id, self.name, self.choice = id, name, choice
        self.buffer = StringIO()
        self.item_id: str | None = None
        self.is_free_text = False
        self.raw: str | None = None
        self.arguments: str | None = None
        """The whole argument text, once it is known to be JSON."""

    def assembled(self) -> AssembledToolCall:
        if self.arguments is None:
            return AssembledToolCall(self.id, self.name, None, self.buffer.getvalue())
        value = None if self.is_free_text else read_arguments(self.arguments)
        return AssembledToolCall(self.id, self.name, value, self.raw, self.item_id)

    def part(self) -> ToolCallPart | None:
        """The call as it goes back; `None` if it was never whole, since no service takes half a call."""
        if self.arguments is None:
            return None
        return ToolCallPart(self.id, self.name, self.arguments, self.item_id, self.is_free_text)


MAX_LOOSE = 8_192
"""Tokens after which their texts are joined: by itself a `StringIO` keeps up to 100,000 of them, some 6 MB."""
MAX_GROWING = 16
"""How many blocks and calls may grow at a time, as choices in turns do; of more, only the last are joined."""

_WRITTEN = frozenset({TextDelta, ReasoningDelta, RefusalDelta, ToolCallStart, ToolCallDelta})
"""Tokens that say more of what the model wrote."""
_NO_TEXT: tuple[int, int, Callable[[str], object]] = (-1, -1, StringIO().write)


class MessageAssembler:
    """Tokens in, the message they add up to out; linear in their text."""

    def __init__(self) -> None:
        self._start: StreamStart | None = None
        self._pieces: list[_Block | _Call] = []
        self._blocks: dict[tuple[type[StreamToken], int, int], _Block] = {}
        self._calls: dict[str, _Call] = {}
        # Index and choice of the text block begun last, and what writes to it; at first no block has that index.
        self._text = _NO_TEXT
        self._runs: dict[int, list[_Run]] = {}  # by choice, in the order in which they came
        self._citations: list[Citation] = []
        self._media: list[Media] = []
        self._logprobs: list[TokenLogProb] = []
        self._usage: UsageReport | None = None
        self._is_counted = False
        self._ends: dict[int, StreamEnd] = {}
        self._loose = 0

    def add(self, token: StreamToken) -> None:
        """Take one token."""
        self.extend((token,))

    def extend(self, tokens: Iterable[StreamToken]) -> None:
        """Take several tokens, in order."""
        index, choice, write = self._text
        for token in tokens:
            if type(token) is TextDelta and token.index == index and token.choice == choice:  # the usual token
                write(token.text)
            else:
                self._add_other(token)
                index, choice, write = self._text
        self._loose += length_hint(tokens, 1)
        if self._loose > MAX_LOOSE:
            self._loose = 0
            for piece in self._pieces[-MAX_GROWING:]:
                piece.buffer.getvalue()  # joins what was written: until then each piece is kept as it came

    def message(self, *, error: ErrorInfo | None = None, finish_reason: str | None = None) -> AssembledMessage:
        """Return the message so far.

        `error` is what the stream ended in; `finish_reason` is the service's word where it had
        been heard although no `StreamEnd` came.
        """
        choices = self._choices()
        first = choices[0]
        end = self._ends.get(first.index)
        start = self._start
        usage = self._usage
        return AssembledMessage(
            text=first.text,
            reasoning=first.reasoning,
            refusal=first.refusal,
            tool_calls=first.tool_calls,
            finish_reason=end.raw_reason if end else finish_reason,
            usage=usage and Usage(*(getattr(usage, name) for name in Usage.__struct_fields__)),
            error=error,
            complete=bool(self._ends) and (error is None or (end is not None and end.reason is FinishReason.ERROR)),
            choices=choices if len(choices) > 1 else [],
            id=start and start.id,
            model=start and start.model,
            provider=start and start.provider,
            reason=end and end.reason,
            parts=self._parts(first.index),
            citations=list(self._citations),
            media=list(self._media),
            logprobs=list(self._logprobs),
            usage_raw=usage and usage.raw,
            usage_source=usage and usage.source,
            usage_is_whole=self._is_counted,
        )

    def _block(self, kind: type[StreamToken], index: int, choice: int) -> _Block:
        key = (kind, index, choice)
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = _Block(kind, index, choice)
            self._pieces.append(block)
        return block

    def _add_other(self, token: StreamToken) -> None:
        if type(token) in _WRITTEN:
            self._is_counted = False
        match token:
            case TextDelta():
                block = self._block(TextDelta, token.index, token.choice)
                self._begin_run(block)
                block.write(token.text)
                self._text = token.index, token.choice, block.write
            case ReasoningDelta():
                block = self._block(ReasoningDelta, token.index, token.choice)
                block.write(token.text)
                block.signature = token.signature or block.signature
                block.redacted = token.redacted or block.redacted
                block.item_id = token.item_id or block.item_id
            case RefusalDelta():
                self._block(RefusalDelta, 0, token.choice).write(token.text)
            case ToolCallStart():
                self._call(token.key, token.id, token.name, token.choice)
            case ToolCallDelta():
                if token.key in self._calls:
                    self._calls[token.key].buffer.write(token.arguments)
            case ToolCall():
                self._is_counted &= token.key in self._calls
                call = self._call(token.key, token.id, token.function.name)
                call.arguments, call.raw = token.function.arguments, token.arguments_raw
                call.item_id, call.is_free_text = token.item_id, token.is_free_text
            case ToolCallTruncated():
                call = self._call(token.key, token.id, token.name)
                call.buffer = StringIO()
                call.buffer.write(token.arguments)
            case StreamStart():
                self._start = token  # again when another model takes over
            case UsageReport():
                self._usage, self._is_counted = token, True
                self._text = _NO_TEXT  # so that the next text is seen to come after it
            case StreamEnd():
                self._ends[token.choice] = token
            case Retract():
                self._take_back(token)
            case Citation():
                self._citations.append(token)
            case Media():
                self._media.append(token)
            case LogProbs():
                if token.choice == 0:
                    self._logprobs += token.content or token.refusal
            case _:
                pass  # a RawEvent is no part of a message

    def _begin_run(self, block: _Block) -> None:
        runs = self._runs.setdefault(block.choice, [])
        if not runs or runs[-1].block is not block:
            runs.append(_Run(block))

    def _take_back(self, retract: Retract) -> None:
        """Take back the text of a choice but for what stays."""
        runs = self._runs.get(retract.choice, [])
        lengths: list[int] = []
        ends: dict[int, int] = {}  # by block: where the run ends that is looked at
        for run in reversed(runs):
            lengths.append(ends.get(id(run.block), run.block.buffer.tell()) - run.start)
            ends[id(run.block)] = run.start
        left, kept = retract.start, 0
        for number, (run, length) in enumerate(zip(runs, reversed(lengths), strict=True), 1):
            stays = min(left, length)
            left -= stays
            if stays:
                kept = number
            if stays < length:  # an earlier run of the block may have taken it all
                run.block.cut(min(run.start + stays, run.block.buffer.tell()))
        del runs[kept:]
        self._text = _NO_TEXT

    def _call(self, key: str, id: str | None, name: str, choice: int = 0) -> _Call:
        """The call `key`, begun if need be, with what is now known of it."""
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = _Call(id, name, choice)
            self._pieces.append(call)
        call.id, call.name = id or call.id, name or call.name
        return call

    def _choices(self) -> list[AssembledChoice]:
        """Every choice that anything is known of; an empty one if nothing is."""
        texts: dict[tuple[type[StreamToken], int], list[str]] = {}
        for block in self._blocks.values():
            texts.setdefault((block.kind, block.choice), []).append(block.text)
        calls: dict[int, list[AssembledToolCall]] = {}
        for call in self._calls.values():
            calls.setdefault(call.choice, []).append(call.assembled())
        choices = sorted({piece.choice for piece in self._pieces} | set(self._ends)) or [0]
        ends = [self._ends.get(choice) for choice in choices]
        return [
            AssembledChoice(
                index=choice,
                text="".join(texts.get((TextDelta, choice), ())),
                finish_reason=end and end.raw_reason,
                reasoning="".join(texts.get((ReasoningDelta, choice), ())),
                refusal="".join(texts.get((RefusalDelta, choice), ())),
                tool_calls=calls.get(choice, []),
            )
            for choice, end in zip(choices, ends, strict=True)
        ]

    def _parts(self, choice: int) -> list[Part]:
        parts: list[Part] = []
        for piece in self._pieces:
            if piece.choice != choice:
                continue
            if isinstance(piece, _Call):
                if (part := piece.part()) is not None:
                    parts.append(part)
            elif piece.kind is ReasoningDelta:
                parts.append(ReasoningPart(piece.text, piece.signature, piece.redacted, piece.item_id))
            elif piece.text:
                parts.append(TextPart(piece.text))
        return parts
