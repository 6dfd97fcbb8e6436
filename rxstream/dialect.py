"""A dialect: how one API is asked, framed and decoded, as a value.

A dialect knows every field name of its service and does no I/O. It is driven by
two readers, which are the same for all: `FrameReader` (frames to tokens) and
`BodyReader` (bytes to tokens in one hop). They give each error what had arrived
as `.partial`, and count what they make, so that whoever feeds them can tell
progress from keep-alives.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, NoReturn, TypeVar

from msgspec import Struct

from rxstream.errors import (
    ConfigurationError,
    ProtocolError,
    ProviderError,
    StreamError,
    TransportError,
    TruncatedStreamError,
)
from rxstream.machine import Machine, completed_by, finish_broken
from rxstream.messages import AssembledMessage, ChatRequest, ImagePart, MessageAssembler
from rxstream.surrogates import JoinSurrogates, mend_text
from rxstream.tokens import CONTENT, StreamToken

F = TypeVar("F")


class HttpRequest(Struct, frozen=True):
    """What to send: everything but the address of the service and the credential."""

    path: str
    """Relative to the provider's base URL."""
    body: bytes
    headers: dict[str, str]
    method: str = "POST"


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a dialect can be asked for."""

    images: bool = False
    tools: bool = False
    parallel_tools: bool = False
    reasoning: bool = False
    structured_output: bool = False
    logprobs: bool = False
    choices: bool = False
    """Several answers to one request."""
    token_counting: bool = False
    resume: bool = False


class ToSign(Struct, frozen=True):
    """A request as it is about to go out, for services that want it signed."""

    method: str
    url: str
    """With its query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class ModelPage(Struct, frozen=True):
    """Some of the models that a service offers."""

    models: list[str]
    """As a request names them."""
    next_path: str | None = None
    """Where the list goes on, as `HttpRequest.path`; `None` at its end."""


class RateLimits(Struct, frozen=True, kw_only=True):
    """How much of the account's rate is left, as the headers of an answer state it; unknown is `None`."""

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_s: float | None = None
    """Seconds after the answer until the requests are whole again."""
    reset_requests_at: datetime | None = None
    """The same as a point in time, where the service gives one."""
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_s: float | None = None
    reset_tokens_at: datetime | None = None
    details: dict[str, str] = {}
    """Every rate-limit header as it came."""


class Decoder(ABC, Generic[F]):
    """Frames of one API in, tokens out: what a dialect subclasses.

    Raises nothing but `StreamError`, whatever the frames hold.
    """

    ended: bool = False
    """The end mark of the API has been read; frames after it are not looked at."""
    finish_reason: str | None = None
    """The service's word for the first choice's end, from when it is heard."""
    resume_after: int | None = None
    """The number of the event read last, where the API can go on after it."""

    @property
    def has_surrogates(self) -> bool:
        """Whether text of this stream was cut inside a character; see `JoinSurrogates`."""
        return False

    @abstractmethod
    def feed(self, frame: F, /) -> list[StreamToken]:
        """Take one frame; return its tokens."""

    @abstractmethod
    def flush(self) -> list[StreamToken]:
        """Return what a clean end of the body completes.

        Raises `TruncatedStreamError` if the API's end mark is missing.
        """

    @abstractmethod
    def fail(self, error: Exception, /) -> list[StreamToken]:
        """Return what can still be said when the stream broke: the calls that stay unfinished."""


def raise_as_it_is(error: StreamError) -> NoReturn:
    """Raise `error` with the cause it has, also from within the handling of another one."""
    raise error from error.__cause__


class FrameReader(Generic[F]):
    """Frames in, tokens out, for any dialect: a machine."""

    def __init__(self, provider: str, decoder: Decoder[F]) -> None:
        self._provider = provider
        self._decoder = decoder
        self._decode = decoder.feed
        self._assembler = MessageAssembler()
        self._joiner: JoinSurrogates | None = None
        self.frames_read = 0
        self.tokens_made = 0
        """Rises with real progress; keep-alive comments and pings leave it as it is."""
        self.has_content = False
        """Whether the answer itself has begun."""

    @property
    def ended(self) -> bool:
        """Whether the end mark of the API has been read."""
        return self._decoder.ended

    @property
    def message(self) -> AssembledMessage:
        """The message so far."""
        return self._assembler.message(finish_reason=self._finish_reason)

    @property
    def _finish_reason(self) -> str | None:
        reason = self._decoder.finish_reason
        return reason and mend_text(reason)

    def feed(self, frame: F, /) -> list[StreamToken]:
        return self.feed_all((frame,))

    def feed_all(self, frames: Sequence[F]) -> list[StreamToken]:
        """Take several frames at once; return their tokens."""
        made: list[StreamToken] = []
        decode = self._decode
        self.frames_read += len(frames)
        try:
            for frame in frames:
                made += decode(frame)
        except Exception as error:
            raise_as_it_is(self.broken(error, made + completed_by(error)))
        return self._noted(made)

    def flush(self) -> list[StreamToken]:
        made: list[StreamToken] = []
        try:
            made = self._decoder.flush()
        except Exception as error:
            raise_as_it_is(self.broken(error, completed_by(error)))
        return self._noted(made, last=True)

    def fail(self, error: Exception, /) -> list[StreamToken]:
        if not isinstance(error, StreamError):
            named = TransportError(f"the source of the stream failed ({type(error).__name__})")
            named.__cause__ = error
            error = named
        raise_as_it_is(self.broken(error, []))

    def broken(self, error: Exception, made: list[StreamToken]) -> StreamError:
        """Return `error` as the stream's one `StreamError`, after the tokens `made`."""
        made = self._noted([*made, *self._decoder.fail(error)], last=True)
        if isinstance(error, StreamError):
            ending = error
        else:  # a decoder raises nothing else; if one does, the stream still ends the one way
            ending = ProtocolError(f"what was read could not be understood ({type(error).__name__})")
            ending.__cause__ = error
        if isinstance(ending, TruncatedStreamError) and self.frames_read and not self.tokens_made:
            ending.message += f"; nothing in it was of the {self._provider} API"
        ending.provider = ending.provider or self._provider
        ending.resume_after = self._decoder.resume_after
        ending.partial = self._assembler.message(error=ending.info, finish_reason=self._finish_reason)
        ending.completed = made
        return ending

    def _noted(self, made: list[StreamToken], *, last: bool = False) -> list[StreamToken]:
        """Take note of the tokens `made`, mending what the service cut inside a character."""
        if self._decoder.has_surrogates:
            self._joiner = joiner = self._joiner or JoinSurrogates()
            made = [mended for token in made for mended in joiner.feed(token)]
            made += joiner.flush() if last else []
        if made:
            self.tokens_made += len(made)
            self._assembler.extend(made)
            if not self.has_content:
                self.has_content = any(isinstance(token, CONTENT) for token in made)
        return made


class BodyReader(Generic[F]):
    """The bytes of a response body in, tokens out, in one hop: a machine."""

    def __init__(self, parser: Machine[bytes, F], frames: FrameReader[F]) -> None:
        self._parser = parser
        self._parse = parser.feed
        self._frames = frames
        self._read = frames.feed_all

    @property
    def ended(self) -> bool:
        """Whether the end mark of the API has been read."""
        return self._frames.ended

    @property
    def tokens_made(self) -> int:
        """How many tokens were made; keep-alives make none."""
        return self._frames.tokens_made

    @property
    def has_content(self) -> bool:
        """Whether the answer itself has begun."""
        return self._frames.has_content

    @property
    def message(self) -> AssembledMessage:
        """The message so far."""
        return self._frames.message

    def feed(self, chunk: bytes, /) -> list[StreamToken]:
        try:
            frames = self._parse(chunk)
        except Exception as error:
            raise_as_it_is(self._broken(error))
        return self._read(frames)

    def flush(self) -> list[StreamToken]:
        try:
            frames = self._parser.flush()
        except Exception as error:
            raise_as_it_is(self._broken(error))
        made = self._read(frames)
        try:
            return made + self._frames.flush()
        except StreamError as error:
            error.completed = made + error.completed
            raise

    def fail(self, error: Exception, /) -> list[StreamToken]:
        made = self._read(finish_broken(self._parser, error))
        try:
            return made + self._frames.fail(error)
        except StreamError as ending:
            ending.completed = made + ending.completed
            raise

    def _broken(self, error: Exception) -> StreamError:
        """The parser's error, after the tokens of the frames that it had completed."""
        return self._frames.broken(error, self._read(completed_by(error)))


@dataclass(frozen=True, kw_only=True)
class Dialect(Generic[F]):
    """How one API is asked, framed and decoded."""

    name: str
    """Such as `openai.chat`."""
    base_url: str
    """Where the service lives unless the caller says otherwise."""
    base_url_variable: str | None = None
    """The environment variable that overrides `base_url`."""
    find_base_url: Callable[[Mapping[str, str]], str | None] | None = None
    """The address that the environment implies otherwise, as by a region or a project; `None` if it does not."""
    key_variable: str | None
    """The environment variable that holds the key; `None` where the service needs none."""
    build_request: Callable[[ChatRequest], HttpRequest]
    """Write a request down; raises `ConfigurationError` for what the API can't be asked."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """What goes with every request, such as the version of the API."""
    authorize: Callable[[str], Mapping[str, str]]
    """The headers that carry a key."""
    sign: Callable[[ToSign], Mapping[str, str]] | None = None
    """The headers that a request without a key is signed with; may take its time, so it is called off the loop."""
    parser: Callable[[], Machine[bytes, F]]
    """Make the machine from bytes to frames, new for each stream."""
    decoder: Callable[[bool], Decoder[F]]
    """Make the machine from frames to tokens; the argument asks for `RawEvent`s too."""
    read_error: Callable[[int, Mapping[str, str], bytes], ProviderError]
    """Read a refusal: HTTP status, headers with lower-case names, body."""
    read_limits: Callable[[Mapping[str, str]], RateLimits]
    """Read the rate limits from headers with lower-case names."""
    request_id_headers: tuple[str, ...] = ("x-request-id", "request-id")
    """Headers that name a request, the telling one first; lower case."""
    models_path: str | None = None
    """A path that answers a GET cheaply when address and key are good."""
    models_base_url: Callable[[str], str] | None = None
    """Where `models_path` is, made of the base URL, if it is elsewhere."""
    read_models: Callable[[bytes], ModelPage] | None = None
    """Read the answer at `models_path`; raises `ProtocolError` if it is no list of models."""
    count_request: Callable[[ChatRequest], HttpRequest] | None = None
    """Write down the question how many tokens a request is, as `build_request`."""
    read_count: Callable[[bytes], int] | None = None
    """Read the answer to it, in tokens; raises `ProtocolError` if it is none."""
    resume_request: Callable[[str, int], HttpRequest] | None = None
    """Ask for the rest of the stream of that response id, after the event of that number."""
    capabilities: Capabilities = field(default_factory=Capabilities)

    def check(self, request: ChatRequest) -> None:
        """Raise `ConfigurationError` if `request` asks for what the dialect says it can't do."""
        if missing := [what for what, is_asked in _asked(request) if is_asked and not getattr(self.capabilities, what)]:
            raise ConfigurationError(
                f"the request asks for {', '.join(_WORDS[what] for what in missing)}, which this API can't do",
                provider=self.name,
            )

    def read_frames(self, *, raw_events: bool = False) -> FrameReader[F]:
        """Return a new machine from frames to tokens."""
        return FrameReader(self.name, self.decoder(raw_events))

    def read_body(self, *, raw_events: bool = False) -> BodyReader[F]:
        """Return a new machine from the bytes of a response body to tokens."""
        return BodyReader(self.parser(), self.read_frames(raw_events=raw_events))


_WORDS = {
    "images": "images",
    "tools": "tools",
    "parallel_tools": "parallel tool calls",
    "reasoning": "reasoning",
    "structured_output": "structured output",
    "logprobs": "log probabilities",
    "choices": "several choices",
}
"""What a capability that a request may need is called."""


def _asked(request: ChatRequest) -> Iterator[tuple[str, bool]]:
    """The capabilities that a request may need, and whether it does."""
    yield "images", any(isinstance(part, ImagePart) for message in request.messages for part in message.parts)
    yield "tools", bool(request.tools)
    yield "parallel_tools", bool(request.tools) and request.parallel_tool_calls is True
    yield "reasoning", request.reasoning is not None
    yield "structured_output", request.response_format is not None and request.response_format != "text"
    yield "logprobs", request.logprobs is not None
    yield "choices", (request.n or 1) > 1
