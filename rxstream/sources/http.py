"""An HTTP exchange as a cold Observable of the chunks of its answer's body.

Each subscription is one request. The source reads when the gate is open, keeps the
four deadlines, closes the connection when it is disposed of, and turns whatever
aiohttp raises into a `StreamError`. Retries are another operator's work; only a
pooled connection that the server had closed in silence is replaced here, as long
as no byte of an answer came: that is no failure of the request.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from reactivex import Observable
from yarl import URL

from rxstream.discretion import address_shown, discreet, raise_alone
from rxstream.errors import ConfigurationError, ProtocolError, StreamError, TransportError
from rxstream.flow import LARGEST_READ, StreamBackpressureController
from rxstream.sources.connections import ConnectionNote, asking
from rxstream.sources.deadlines import Deadlines, Progress, Watchdog
from rxstream.sources.pump import Pump, pumped
from rxstream.sources.push import short_way

T = TypeVar("T")

MAX_REFUSAL = 65_536
"""Bytes of a refusal's body that are read; more is no error message."""
MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer that is read as one; the longest list of models seen is under one MiB."""
LINGER = 0.25
"""Seconds to wait, after the API's end mark, for the end of the body, which frees the connection for reuse."""
PATIENCE = 5.0
"""Seconds to wait for the rest of a refusal: what it is stands in its status, and not in how it ends."""
LOST = (aiohttp.ClientError, RuntimeError)
"""What aiohttp raises when a body breaks off; the second, if its connection is gone before the next read."""
MAX_REDIRECTS = 5

Refuse = Callable[[int, Mapping[str, str], bytes], StreamError]
"""Makes an error of a refusal: HTTP status, headers with lower-case names, body."""


@dataclass(frozen=True, kw_only=True)
class HttpCall:
    """What to send, and what to make of the answer's head."""

    method: str
    url: str
    headers: Mapping[str, str]
    credentials: Mapping[str, str]
    """Headers that go to the origin of `url` and to no other."""
    body: bytes
    by_proxy: bool = False
    """Whether it goes by the proxy that the environment names, if it names one."""
    refuse: Refuse
    heed: Callable[[Mapping[str, str]], None]
    """Hear the headers of every answer, with lower-case names."""

    def __repr__(self) -> str:
        """Neither what is said, nor a header or a query."""
        return f"<HttpCall {self.method} {address_shown(self.url)}, {len(self.body)} bytes>"

    @property
    def host(self) -> str:
        """Where it goes, fit to be shown: no credentials, path or query."""
        return host_of(self.url)

    def redirected(self, location: str) -> "HttpCall":
        """Return the call to send to `location`; without its credentials if that is another origin.

        Raises `ProtocolError` if it is no address that can be asked.
        """
        url = _resolved(self.url, location)
        if url is None:
            raise ProtocolError(f"{self.host} redirects to what is no address of HTTP")
        is_same = _origin(url) == _origin(self.url)
        return replace(self, url=url, credentials=self.credentials if is_same else {})


def http_chunks(
    prepare: Callable[[], Awaitable[HttpCall]],
    session: Callable[[], aiohttp.ClientSession],
    *,
    deadlines: Deadlines,
    progress: Progress | None,
    controller: StreamBackpressureController | None = None,
) -> Observable[bytes]:
    """Return the body of the answer to the call that `prepare` makes, chunk by chunk.

    `session` is asked for on the loop of the subscription. `progress` is read after
    each chunk: it says what counts for the deadlines, and when the answer is whole.
    Without it every chunk counts, and the answer is whole when the body ends.
    """

    async def read(pump: Pump[bytes]) -> None:
        watchdog = Watchdog(pump.loop, deadlines, pump.fail)
        pump.on_pause, pump.on_resume = watchdog.pause, watchdog.resume
        try:
            call = await prepare()
            with as_transport_errors(call.url, deadlines):
                response = await ask(session(), call, deadlines, largest_read=pump.largest_read)
                await read_response(pump, response, call.refuse, watchdog, progress)
        finally:
            watchdog.stop()

    return pumped(read, controller)


async def read_response(
    pump: Pump[bytes],
    response: aiohttp.ClientResponse,
    refuse: Refuse,
    watchdog: Watchdog,
    progress: Progress | None,
) -> None:
    """Push the body of `response` until the answer is whole, the body ends or nobody wants more; then close it."""
    pump.on_stop = response.close
    content = response.content
    try:
        with noticing_loss(response, pump.hurry):
            chunk = await content.read(pump.read_size)
            await _refuse_what_is_no_stream(response, chunk, refuse)
            with short_way(content, pump, watchdog, progress) as read:
                while chunk and await push_chunk(pump, chunk, watchdog, progress):
                    chunk = await read()
        if progress is not None and progress.ended:
            await _read_to_end(content)
    except aiohttp.ClientPayloadError:
        if left := unread(content):  # it came before the break
            await push_chunk(pump, left, watchdog, progress)
        if progress is None or not progress.ended:  # else the answer was whole: only its connection can't be used again
            raise
    finally:
        response.close()  # does nothing where the body was read to its end


async def push_chunk(pump: Pump[bytes], chunk: bytes, watchdog: Watchdog, progress: Progress | None) -> bool:
    """Push `chunk`, take note of the progress it made, and return whether more is wanted."""
    seen = watchdog.seen(progress)
    watchdog.note(progress, seen, await pump.give(chunk))
    return not (progress is not None and progress.ended) and await pump.is_wanted()  # a healthy end needs no demand


async def ask(
    session: aiohttp.ClientSession, call: HttpCall, deadlines: Deadlines, *, largest_read: int = LARGEST_READ
) -> aiohttp.ClientResponse:
    """Send `call`, follow redirects that keep method and body, and return the answer, open, if it is a good one.

    No more than `largest_read` bytes of it will be wanted at once. Raises the error that
    `call.refuse` makes of a refusal.
    """
    for _ in range(MAX_REDIRECTS + 1):
        response = await _send(session, call, deadlines, largest_read)
        call.heed(lower_case(response.headers))
        location = response.headers.get("location")
        if response.status not in {307, 308} or location is None:
            await check_status(response, call.refuse)
            return response
        response.close()
        call = call.redirected(location)
    raise ProtocolError(f"{call.host} redirects more than {MAX_REDIRECTS} times")


async def read_whole(session: aiohttp.ClientSession, call: HttpCall, deadlines: Deadlines) -> bytes:
    """Return the body of the answer to `call`, within the deadline for the first content.

    Raises `FirstContentTimeoutError` after that, `ProtocolError` for more than `MAX_ANSWER` bytes.
    """
    try:
        async with asyncio.timeout(deadlines.first_content):  # outside: a TimeoutError is an OSError too
            with as_transport_errors(call.url, deadlines):
                response = await ask(session, call, deadlines)
                try:
                    return await _read_all(response.content)
                finally:
                    response.close()  # does nothing where the body was read to its end
    except TimeoutError as error:
        raise deadlines.answer_error() from error


async def _read_all(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    while chunk := await content.read(LARGEST_READ):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise ProtocolError(f"the answer is larger than {MAX_ANSWER} bytes")
    return bytes(body)


async def check_status(response: aiohttp.ClientResponse, refuse: Refuse) -> None:
    """Raise what the status of an answer says, unless that is good; the answer is then closed."""
    status = response.status
    if 200 <= status < 300:
        return
    try:
        if status < 200:
            raise ProtocolError(f"{host_of(str(response.url))} wants to go on in another protocol", status=status)
        if 300 <= status < 400:
            here = host_of(str(response.url))
            where = host_of(_resolved(str(response.url), response.headers.get("location", "")) or "")
            raise ProtocolError(
                f"{here} redirects to {where}, which a request with a body can't follow: is the base_url right?",
                status=status,
            )
        raise refuse(status, lower_case(response.headers), await _read_some(response.content))
    finally:
        response.close()


async def _send(
    session: aiohttp.ClientSession, call: HttpCall, deadlines: Deadlines, largest_read: int
) -> aiohttp.ClientResponse:
    """Send the call; again, at once, while only a pooled connection had gone stale."""
    timeout = aiohttp.ClientTimeout(total=None, connect=deadlines.connect)
    while True:
        connection = ConnectionNote()
        asking.set(connection)
        proxy = await _proxy(call) if call.by_proxy else None
        try:
            return await session.request(
                call.method,
                _as_it_is(call.url),
                data=io.BytesIO(call.body) if call.body else None,  # raw bytes of a size make aiohttp complain
                headers={**call.headers, **call.credentials},
                allow_redirects=False,
                proxy=proxy,
                timeout=timeout,
                read_bufsize=largest_read,  # aiohttp holds twice that, and what the system gave in one go
            )
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not connection.had_gone_stale:
                raise
        finally:
            connection.forget()


async def _proxy(call: HttpCall) -> URL | None:
    """The proxy that the environment names for `call`, if any.

    aiohttp's own `trust_env` also looks for credentials in `~/.netrc`, for which nobody asked.
    """
    parts = urlsplit(call.url)
    found = await unseen_off_the_loop(partial(environment_proxy, parts.scheme, parts.hostname or ""))
    if found is None:
        return None
    try:
        proxy = URL(found if "://" in found else f"http://{found}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in {"http", "https"} or not proxy.host:
        raise ConfigurationError(f"the proxy that the environment names for {parts.scheme} is no HTTP proxy")
    return proxy


async def unseen_off_the_loop(give: Callable[[], T]) -> T:
    """Return what `give` returns, or raise what it raises, called on another thread.

    asyncio's debug mode logs what its futures hold, so what is secret does not go by way of one.
    """
    given: list[T] = []
    raised: list[Exception] = []

    def call() -> None:
        try:
            given.append(give())
        except Exception as error:
            raised.append(error)

    await asyncio.to_thread(call)
    for error in raised:
        raise error
    return given[0]


def environment_proxy(scheme: str, host: str) -> str | None:
    """Return the proxy that `HTTP_PROXY`, `HTTPS_PROXY` or `ALL_PROXY` name, unless `NO_PROXY` names the host."""
    proxies = getproxies()
    return None if proxy_bypass(host) else proxies.get(scheme) or proxies.get("all")


def _as_it_is(url: str) -> URL | str:
    """Return `url` so that what is escaped in it stays escaped: a signature holds for the bytes that go out."""
    is_plain = "%" in url and url.isascii() and url.isprintable() and " " not in url
    try:
        return URL(url, encoded=True) if is_plain else url
    except ValueError:
        return url  # not an address: aiohttp says so in its own words


async def _refuse_what_is_no_stream(response: aiohttp.ClientResponse, first: bytes, refuse: Refuse) -> None:
    """Raise what an answer says that is a page or one JSON value, in spite of its good status."""
    media_type, start = response.content_type, first.lstrip()[:1]
    if media_type in {"text/html", "application/xhtml+xml"} or start == b"<":
        raise ProtocolError(
            f"{host_of(str(response.url))} answered with a web page, not a stream: is the base_url right?",
            status=response.status,
        )
    if media_type == "application/json" and start in {b"{", b"["}:
        body = first + await _read_some(response.content)
        if b'"error"' in body:
            raise refuse(response.status, lower_case(response.headers), body)
        raise ProtocolError(
            f"{host_of(str(response.url))} answered with one JSON value, not a stream: does it stream at all?",
            status=response.status,
        )


async def _read_some(content: aiohttp.StreamReader) -> bytes:
    """Read a small body, or the beginning of one that is large, broken or slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            while len(body) < MAX_REFUSAL and (chunk := await content.read(MAX_REFUSAL - len(body))):
                body += chunk
    except (TimeoutError, *LOST):
        return bytes(body)  # what came of the refusal says more than how it broke off
    return bytes(body)


async def _read_to_end(content: aiohttp.StreamReader) -> None:
    """Read the little that is left of a whole answer, for a moment: a body read to its end frees its connection."""
    left = LARGEST_READ
    try:
        async with asyncio.timeout(LINGER):
            while left > 0 and (chunk := await content.read(left)):
                left -= len(chunk)
    except (TimeoutError, *LOST):
        return  # the answer is whole; only its connection can't be used again


@contextmanager
def noticing_loss(response: aiohttp.ClientResponse, tell: Callable[[], None]) -> Generator[None]:
    """End the wait for more of a body when its connection is lost, and `tell` whoever waits for something else.

    aiohttp does the first by itself, but not after a chunk that its parser can't read:
    then a reader waits for ever (seen with 3.14).
    """
    content, connection = response.content, response.connection
    closed: asyncio.Future[None] | None = getattr(connection and connection.protocol, "closed", None)

    def end(lost: "asyncio.Future[None]") -> None:
        _look_at(lost)
        if content.is_eof():
            return
        if content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection was lost"))
        tell()

    if closed is not None:
        closed.add_done_callback(end)
    try:
        yield
    finally:
        if closed is not None:
            closed.remove_done_callback(end)
            closed.remove_done_callback(_look_at)  # of the answer before, on the same connection
            closed.add_done_callback(_look_at)  # it may be reset later, while it waits in the pool


def _look_at(lost: "asyncio.Future[None]") -> None:
    """Look at what became of a connection, so that asyncio does not log that nobody did.

    The connection, which aiohttp may keep in its pool for a while, keeps the error. On the traceback of that hang
    the frames of the loop, and on those whatever it had in hand: timers, and so other streams.
    """
    error: BaseException | None = None if lost.cancelled() else lost.exception()
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def unread(content: aiohttp.StreamReader) -> bytes:
    """Return what `content` had received when it failed: its own `read` gives no more of it.

    The buffer is private to aiohttp; where a release keeps it elsewhere, nothing is recovered.
    """
    held = list(getattr(content, "_buffer", ()))
    offset = getattr(content, "_buffer_offset", 0)
    return b"".join(held)[offset:]


@contextmanager
def as_transport_errors(url: str, deadlines: Deadlines) -> Generator[None]:
    """Turn what aiohttp and the system raise about the exchange with `url` into `StreamError`s."""
    try:
        yield
    except StreamError:
        raise
    except Exception as error:  # aiohttp raises ValueError too, and its own are not all of one class
        named = _stream_error(error, host_of(url), deadlines)
        named.__cause__ = error
        try:
            raise_alone(discreet(named))
        finally:
            del named  # aiohttp's reader keeps its error, that error this frame, and so whoever was told


def _stream_error(error: Exception, host: str, deadlines: Deadlines) -> StreamError:
    """Return what an exception of aiohttp or the system means; its text may hold an address with a query: left out."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return deadlines.connect_error()
        case aiohttp.InvalidURL():
            return ConfigurationError(f"no URL that can be asked: check base_url ({host})")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            # Some releases of aiohttp say what is wrong only there.
            told: BaseException = getattr(error, "certificate_error", None) or error
            return TransportError(
                f"no trusted TLS connection to {host} ({_reason(told)}): if its certificate is of an authority of "
                "your own, pass ssl_context=",
                is_retryable=False,
            )
        case aiohttp.ClientConnectorError():
            return TransportError(f"cannot connect to {host} ({_reason(error.os_error)})")
        case aiohttp.ServerDisconnectedError():
            return TransportError(f"{host} closed the connection before it answered")
        case aiohttp.ClientPayloadError():
            return TransportError("the body of the answer broke off")
        case aiohttp.ClientHttpProxyError():
            return TransportError(f"the proxy lets nobody through to {host} (HTTP {error.status})", is_retryable=False)
        case aiohttp.ClientResponseError():
            return ProtocolError(f"what {host} answered is not HTTP")
        case _:
            return TransportError(f"the connection to {host} failed ({_reason(error)})")


def _reason(error: BaseException) -> str:
    """A system error's text, which names no request; of others only their class."""
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    """Return `headers` with lower-case names, as a dialect reads them; of several of a name the last."""
    return {name.lower(): value for name, value in headers.items()}


def _resolved(url: str, location: str) -> str | None:
    """Return the address that `location` is to whoever asked `url`; `None` if it is none that can be asked."""
    try:
        resolved = urljoin(url, location)
        parts = urlsplit(resolved)
        return resolved if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of an address that can be asked."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def host_of(url: str) -> str:
    """Return host and port of `url`, fit to be shown; an address that can't be read is just called that."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an unreadable address"
    return f"{parts.hostname or 'nowhere'}{port}"
