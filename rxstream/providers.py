"""A provider: a dialect, a credential and an HTTP session, alive."""

import asyncio
import os
import time
import weakref
from collections.abc import Mapping
from importlib.metadata import version
from types import TracebackType
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

import aiohttp
import reactivex
from msgspec import Struct
from reactivex import Observable, abc

from rxstream.dialect import BodyReader, Capabilities, Dialect, HttpRequest, RateLimits
from rxstream.dialects import dialect as named
from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    StreamError,
    TransportError,
)
from rxstream.flow import RetryPolicy, StreamBackpressureController
from rxstream.messages import ChatRequest, Message
from rxstream.operators import retry_before_content
from rxstream.rx import lift
from rxstream.sources.deadlines import Deadlines
from rxstream.sources.http import HttpCall, as_transport_errors, ask, http_chunks, note_connections
from rxstream.sources.on_loop import on_loop
from rxstream.tokens import Json, StreamToken


class _FromEnvironment:
    """The default for a key: the environment variable of the dialect."""

    def __repr__(self) -> str:
        return "FROM_ENVIRONMENT"


FROM_ENVIRONMENT: Final = _FromEnvironment()

Problem = Literal["key", "address", "model", "quota", "service"]


class Health(Struct, frozen=True):
    """Whether a provider could be asked right now, and what is wrong if not."""

    is_healthy: bool
    problem: Problem | None = None
    """Which part needs a look."""
    message: str = ""
    seconds: float = 0.0
    """How long the answer took."""


class AiProvider:
    """One service, ready to be asked: makes a stream of tokens of a request.

    `dialect` is a `Dialect` or its name, such as `openai.chat`. `api_key` is taken
    from the dialect's environment variable unless given; `None` sends none.
    `base_url` is taken from the dialect's variable, then from the dialect. A
    `session` that is given stays the caller's to close, and is used on its own
    loop. `controller` bounds what all streams of the provider, and of whoever else has
    the same one, hold together. Raises `ConfigurationError` for an unknown dialect or an unusable key or
    address.

    Close it with `aclose()` or `async with`; one that is only dropped closes its
    connections all the same.
    """

    def __init__(
        self,
        dialect: Dialect[Any] | str,
        *,
        api_key: str | _FromEnvironment | None = FROM_ENVIRONMENT,
        base_url: str | None = None,
        session: aiohttp.ClientSession | None = None,
        deadlines: Deadlines | None = None,
        retry: RetryPolicy | None = None,
        controller: StreamBackpressureController | None = None,
    ) -> None:
        self.dialect = named(dialect)
        self.deadlines = deadlines or Deadlines()
        self.controller = controller
        self.retry = retry or RetryPolicy()
        self._api_key = api_key if isinstance(api_key, _FromEnvironment | None) else _usable_key(api_key, "api_key")
        self._base_url = None if base_url is None else _usable_address(base_url, "base_url")
        self._given_session = session
        self._rate_limits = RateLimits()
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()
        weakref.finalize(self, _abandon, self._sessions)

    def __repr__(self) -> str:
        return f"AiProvider({self.dialect.name!r}, base_url={self.base_url!r}, key={self._key_source()})"

    async def __aenter__(self) -> "AiProvider":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def base_url(self) -> str:
        """Where requests go, without a slash at the end."""
        variable = self.dialect.base_url_variable
        if self._base_url is None and variable and (told := os.environ.get(variable)):
            return _usable_address(told, variable)
        return self._base_url or self.dialect.base_url

    @property
    def capabilities(self) -> Capabilities:
        """What the dialect can be asked for."""
        return self.dialect.capabilities

    @property
    def rate_limits(self) -> RateLimits:
        """What the last answer's headers said about the account's rate."""
        return self._rate_limits

    def stream(
        self, prompt: str | list[Message] | ChatRequest, *, raw_events: bool = False, **options: Json
    ) -> Observable[StreamToken]:
        """Return the tokens of the answer to `prompt`: cold, so each subscription is a request.

        `options` are fields of `ChatRequest`, such as `model`, which a prompt that is
        no `ChatRequest` needs. The stream ends in one `StreamError` if anything goes
        wrong; what is wrong before the first content and may pass is tried again as
        `retry` says. Raises `TypeError` for an unknown option or a missing model.
        """
        request = ChatRequest.of(prompt, **options)

        def attempt(_scheduler: abc.SchedulerBase) -> Observable[StreamToken]:
            reader = self.dialect.read_body(raw_events=raw_events)
            return self._chunks(request, reader).pipe(lift(lambda: reader))

        return on_loop(reactivex.defer(attempt).pipe(retry_before_content(self.retry)))

    def chunks(self, prompt: str | list[Message] | ChatRequest, **options: Json) -> Observable[bytes]:
        """Return the bytes of the answer's body as they come, for `decode` or a recording; otherwise as `stream`."""
        request = ChatRequest.of(prompt, **options)
        return on_loop(reactivex.defer(lambda _: self._chunks(request, None)))

    async def check_health(self) -> Health:
        """Ask the service for something cheap; say whether it answers, and what is wrong if it does not."""
        started = time.perf_counter()
        try:
            request = HttpRequest(self.dialect.models_path or "", b"", {}, method="GET")
            call = self._call(request)
            with as_transport_errors(call.host, self.deadlines):
                async with asyncio.timeout(self.deadlines.first_content):
                    (await ask(self._session(), call, self.deadlines)).close()
        except TimeoutError:
            return Health(False, "service", "no answer in time", time.perf_counter() - started)
        except StreamError as error:
            return Health(False, _problem(error), str(error), time.perf_counter() - started)
        return Health(True, seconds=time.perf_counter() - started)

    async def aclose(self) -> None:
        """Close the connections; streams that still run end in a `TransportError`."""
        sessions = list(self._sessions.items())
        self._sessions.clear()
        here = asyncio.get_running_loop()
        for loop, session in sessions:
            if loop is here:
                await session.close()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(session.close(), loop))
            else:
                _abandon({loop: session})

    def _chunks(self, request: ChatRequest, reader: BodyReader[Any] | None) -> Observable[bytes]:
        call = self._call(self.dialect.build_request(request))
        return http_chunks(call, self._session, deadlines=self.deadlines, progress=reader, controller=self.controller)

    def _call(self, request: HttpRequest) -> HttpCall:
        key = self._key()

        def refuse(status: int, headers: Mapping[str, str], body: bytes) -> StreamError:
            error = self.dialect.read_error(status, headers, body)
            if key and key in error.message:  # some services quote the key that they refuse
                error.message = error.message.replace(key, "***")
            return error

        def heed(headers: Mapping[str, str]) -> None:
            self._rate_limits = self.dialect.read_limits(headers)

        headers = {
            "accept-encoding": "identity",  # a compressed stream comes in lumps
            "user-agent": f"rxstream/{version('rxstream')}",
            **request.headers,
        }
        return HttpCall(
            method=request.method,
            url=self.base_url + request.path,
            headers=headers,
            credentials=self.dialect.authorize(key) if key else {},
            body=request.body,
            refuse=refuse,
            heed=heed,
        )

    def _key(self) -> str | None:
        if not isinstance(self._api_key, _FromEnvironment):
            return self._api_key
        variable = self.dialect.key_variable
        key = os.environ.get(variable) if variable else None
        if key:
            return _usable_key(key, str(variable))
        if variable and self.base_url == self.dialect.base_url:
            raise AuthenticationError(
                f"no key: set the environment variable {variable}, or pass api_key=", provider=self.dialect.name
            )
        return None

    def _key_source(self) -> str:
        """Where the key comes from, never the key."""
        if not isinstance(self._api_key, _FromEnvironment):
            return "none" if self._api_key is None else "given"
        variable = self.dialect.key_variable
        return f"{variable} ({'set' if variable and os.environ.get(variable) else 'not set'})"

    def _session(self) -> aiohttp.ClientSession:
        """The session for the running loop, made when it is first wanted."""
        if self._given_session is not None:
            return self._given_session
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            # no limit: a stream holds its connection for long, and one more must not hang behind others
            connector = aiohttp.TCPConnector(limit=0)
            session = aiohttp.ClientSession(connector=connector, trace_configs=[note_connections()])
            self._sessions[loop] = session
        return session


def _usable_key(key: str, where: str) -> str:
    """The key without white space around it; one that no header can carry is refused, unquoted."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigurationError(f"{where} holds no usable key: it is empty or has characters that no header can carry")
    return key


def _usable_address(url: str, where: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{where} must begin with http:// or https://")
    return url.rstrip("/")


def _problem(error: StreamError) -> Problem:
    match error:
        case AuthenticationError() | PermissionDeniedError():
            return "key"
        case QuotaExceededError() | RateLimitedError():
            return "quota"
        case TransportError() | NotFoundError() | ConfigurationError():
            return "address"
        case _:
            return "service"


def _abandon(sessions: Mapping[asyncio.AbstractEventLoop, aiohttp.ClientSession]) -> None:
    """Close the connections of sessions that nobody closed, without a wait and without a word."""
    for loop, session in list(sessions.items()):
        connector = session.connector
        session.detach()
        if connector is None:
            continue
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(_close(connector), loop)
        elif loop.is_closed():
            next(_close(connector).__await__(), None)  # nothing is left to wait for, so its one step is all of it


async def _close(connector: aiohttp.BaseConnector) -> None:
    await connector.close()
