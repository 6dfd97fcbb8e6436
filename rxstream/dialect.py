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
from typing import Any, Generic, TypeAlias, TypeVar, cast

from msgspec import Struct

from rxstream.discretion import Secrets, address_shown, discreet, raise_alone
from rxstream.errors import (
    ConfigurationError,
    FramingError,
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
Fed = TypeVar("Fed")

Gives: TypeAlias = Callable[[Fed, Callable[[F], None], Callable[[bytes, int], int] | None], None]
"""Hands over the frames in what it is fed, each as soon as it is read, and lets others read what they understand.

`SseParser.feed_into` is one.
"""


class HttpRequest(Struct, frozen=True):
    """What to send: everything but the address of the service and the credential."""

    path: str
    """Relative to the provider's base URL."""
    body: bytes
    headers: dict[str, str]
    method: str = "POST"

    def __repr__(self) -> str:
        """Neither what is said, nor a header or a query."""
        return f"<HttpRequest {self.method} {self.path.partition('?')[0]}, {len(self.body)} bytes>"


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a dialect can be asked for."""

    images: bool = False
    tools: bool = False
    parallel_tools: bool = False
    free_text_tools: bool = False
    """Tools that take plain text in place of arguments."""
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

    def __repr__(self) -> str:
        """Neither what is said, nor a header or a query."""
        return f"<ToSign {self.method} {address_shown(self.url)}, {len(self.body)} bytes>"


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
    refusal: ProviderError | None = None
    """What the service has said is wrong, where it may say more of it; it goes before how the stream then broke."""
    resume_after: int | None = None
    """The number of the event read last, where the API can go on after it."""

    @property
    def has_surrogates(self) -> bool:
        """Whether text of this stream was cut inside a character; see `JoinSurrogates`."""
        return False

    @abstractmethod
    def feed(self, frame: F, /) -> list[StreamToken]:
        """Take one frame; return its tokens."""

    def skim(self, made: list[StreamToken], chunk: bytes, start: int, /) -> int:  # noqa: ARG002  # for those that can
        """Add the tokens of the whole events that begin at `start` of a chunk to `made`; return where they end.

        A quicker way through events of which only the usual ones are understood; it stops at the first other
        one, and gives what parser and `feed` would.
        """
        return start

    @abstractmethod
    def flush(self) -> list[StreamToken]:
        """Return what a clean end of the body completes.

        Raises `TruncatedStreamError` if the API's end mark is missing.
        """

    @abstractmethod
    def fail(self, error: Exception, /) -> list[StreamToken]:
        """Return what can still be said when the stream broke: the calls that stay unfinished."""


class FrameReader(Generic[F]):
    """Frames in, tokens out, for any dialect: a machine."""

    def __init__(self, provider: str, decoder: Decoder[F]) -> None:
        self._provider = provider
        self._decoder = decoder
        self._decode = decoder.feed
        self._skim = None if type(decoder).skim is cast(Any, Decoder).skim else self._skim_into
        self._made: list[StreamToken] = []  # of what is being fed
        self._assembler = MessageAssembler()
        self._joiner: JoinSurrogates | None = None
        self._has_frames = False
        self.secrets: Secrets = tuple
        """What no error may say, other than of its own accord."""
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
        return self.feed_from(_each, frames)

    def feed_from(self, give: Gives[Fed, F], fed: Fed) -> list[StreamToken]:
        """Let `give` hand over the frames in `fed`; return their tokens.

        It is called with `fed`, with what takes a frame, and with the decoder's `skim`, if it has one, for whoever
        has bytes.
        """
        made = self._made = []
        try:
            give(fed, self._take, self._skim)
        except Exception as error:
            if self._decoder.ended and isinstance(error, FramingError):  # noise after a whole answer
                return self._noted(made)
            raise_alone(self.broken(error, made + completed_by(error)))
        return self._noted(made)

    def _take(self, frame: F) -> None:
        self._has_frames = True
        self._made += self._decode(frame)

    def _skim_into(self, chunk: bytes, start: int) -> int:
        return self._decoder.skim(self._made, chunk, start)

    def flush(self) -> list[StreamToken]:
        made: list[StreamToken] = []
        try:
            made = self._decoder.flush()
        except Exception as error:
            raise_alone(self.broken(error, completed_by(error)))
        return self._noted(made, last=True)

    def fail(self, error: Exception, /) -> list[StreamToken]:
        if isinstance(error, StreamError):
            raise_alone(self.broken(error, []))
        named = TransportError(f"the source of the stream failed ({type(error).__name__})")
        ending = self.broken(named, [])
        named.__cause__ = error  # afterwards: what a caller's own source raised is the caller's to read
        raise_alone(ending)

    def broken(self, error: Exception, made: list[StreamToken]) -> StreamError:
        """Return `error` as the stream's one `StreamError`, after the tokens `made`."""
        made = self._noted([*made, *self._decoder.fail(error)], last=True)
        if isinstance(error, TransportError) and self._decoder.refusal is not None:
            error, cause = self._decoder.refusal, error
            error.__cause__ = cause
        if isinstance(error, StreamError):
            ending = error
        else:  # a decoder raises nothing else; if one does, the stream still ends the one way
            ending = ProtocolError(f"what was read could not be understood ({type(error).__name__})")
            ending.__cause__ = error
        if isinstance(ending, TruncatedStreamError) and self._has_frames and not self.tokens_made:
            ending.message += f"; nothing in it was of the {self._provider} API"
        ending.provider = ending.provider or self._provider
        ending.resume_after = self._decoder.resume_after
        discreet(ending, self.secrets())
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


def _each(frames: Sequence[F], take: Callable[[F], None], _skim: Callable[[bytes, int], int] | None) -> None:
    for frame in frames:
        take(frame)


class BodyReader(Generic[F]):
    """The bytes of a response body in, tokens out, in one hop: a machine."""

    def __init__(self, parser: Machine[bytes, F], frames: FrameReader[F]) -> None:
        self._parser = parser
        self._parse = parser.feed
        self._feed_into: Gives[bytes, F] | None = getattr(parser, "feed_into", None)
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

    def hide(self, secrets: Secrets) -> None:
        """Let no error say any of `secrets`, such as the key that a service quotes."""
        self._frames.secrets = secrets

    def feed(self, chunk: bytes, /) -> list[StreamToken]:
        if self._frames.ended:  # what comes after the end mark is not looked at
            return []
        if self._feed_into is not None:
            return self._frames.feed_from(self._feed_into, chunk)
        try:
            frames = self._parse(chunk)
        except Exception as error:
            return self._break(error)
        return self._read(frames)

    def flush(self) -> list[StreamToken]:
        if self._frames.ended:
            return self._frames.flush()
        try:
            frames = self._parser.flush()
        except Exception as error:
            return self._break(error)
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

    def _break(self, error: Exception) -> list[StreamToken]:
        """Raise the parser's error, after the tokens of the frames that it had completed.

        Only return those if they complete the answer: noise that follows it takes nothing from it.
        """
        made = self._read(completed_by(error))
        if not self._frames.ended:
            ending = self._frames.broken(error, [])
            ending.completed = made + ending.completed
            raise_alone(ending)
        return made


@dataclass(frozen=True, kw_only=True)
class Dialect(Generic[F]):
    """How one API is asked, framed and decoded."""

    name: str
    """Such as `openai.chat`."""
    base_url: str
    """Where the service lives unless the caller says otherwise; empty where only the caller can know."""
    base_url_variable: str | None = None
    """The environment variable that overrides `base_url`."""
    find_base_url: Callable[[Mapping[str, str]], str | None] | None = None
    """The address that the environment implies otherwise, as by a region or a project; `None` if it does not."""
    address: Callable[[str, str], str] | None = None
    """Make one address of a base URL, without its query, and a path, where they are not just joined."""
    key_variable: str | None
    """The environment variable that holds the key; `None` where the service needs none."""
    needs_key: bool = True
    """Whether the service refuses who has no key; a server on this machine may do without."""
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
        """Raise `ConfigurationError` if `request` asks for what the dialect says it can't do, or names no model."""
        if not request.model.isprintable():  # it may go into an address
            raise ConfigurationError("the name of the model has characters that no name has", provider=self.name)
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
    "free_text_tools": "tools that take free text",
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
    yield "free_text_tools", any(tool.takes_free_text for tool in request.tools)
    yield "reasoning", request.reasoning is not None
    yield "structured_output", request.response_format is not None and request.response_format != "text"
    yield "logprobs", request.logprobs is not None
    yield "choices", (request.n or 1) > 1
