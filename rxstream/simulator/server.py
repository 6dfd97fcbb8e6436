"""The simulator itself: an HTTP server on loopback that performs the steps of a `Reply`.

aiohttp accepts connections, parses requests and tells when a client is gone; every
byte of a reply is ours, so that a fault may sit anywhere in it. Whatever a test
wants to know is an event to wait for or a number to read, never a time to sleep.
"""

import asyncio
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, TypeAlias

import msgspec
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct

from rxstream.simulator import models
from rxstream.simulator.api import Api, Asked, Refusal, Resumption, Said, api_named, apis, to_json
from rxstream.simulator.faults import Fault
from rxstream.simulator.reply import Reply, plain_reply, reply
from rxstream.simulator.script import Script
from rxstream.simulator.steps import EACH_EVENT, LIVELY, Close, Speed, Wait, Write, Writes
from rxstream.simulator.turn import Turn
from rxstream.tokens import Json

SCRIPT_HEADER = "x-rxstream-simulate"
"""The request header that may hold a `Script` as JSON."""
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"})
REDACTED = "(redacted)"
KEPT_REQUESTS = 1_000
Outcome: TypeAlias = Literal["answering", "whole", "cut", "dropped", "client left"]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for a whole run."""

    script: Script = Script()
    """What requests get that nothing else is said for."""
    speed: Speed = LIVELY
    """For scripts that name none."""
    writes: Writes = EACH_EVENT
    """For scripts that name none."""
    obeys_requests: bool = True
    """Whether a request may choose its script, by the header `x-rxstream-simulate` or the name of a model."""
    key: str | None = None
    """The one key that is let in; `None` asks for none."""
    seed: int = 0
    """Other seeds give other ids, signatures and padding."""
    send_buffer: int | None = None
    """Bytes that the system may hold for each connection (`SO_SNDBUF`); a small one makes a slow reader felt soon."""


DEFAULTS = Settings()


class Connection:
    """A client's TCP connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.closed = asyncio.Event()
        self.drops_next = False
        """Whether the next request finds the connection closed."""


class ReceivedRequest:
    """One request and what became of it."""

    def __init__(self, asked: Asked, number: int, connection: Connection) -> None:
        self.number = number
        """From 1, in the order of arrival."""
        self.method, self.path = asked.method, asked.path
        self.headers = {name: REDACTED if name in SECRET_HEADERS else value for name, value in asked.headers.items()}
        """Names in lower case; what names an account is redacted."""
        self.raw_body = asked.body
        self.api: str | None = None
        """The service that was asked, such as `openai.chat`."""
        self.script: Script | None = None
        """What it was answered with, without the faults whose times were over."""
        self.connection = connection
        self.outcome: Outcome = "answering"
        self.stalled = asyncio.Event()
        """Set when the reply has come to a stall without end."""
        self.ended = asyncio.Event()
        """Set when there is no more to come, for whatever reason: see `outcome`."""
        self.bytes_written = 0
        """Bytes of the reply, head and chunk sizes included, that were handed to the transport."""
        self._bytes_left = 0

    @property
    def body(self) -> Json:
        """The body as a value; raises `msgspec.DecodeError` if it is no JSON."""
        return msgspec.json.decode(self.raw_body)

    @property
    def closed(self) -> asyncio.Event:
        """Set when the connection that brought the request is closed."""
        return self.connection.closed

    @property
    def bytes_sent(self) -> int:
        """Bytes of the reply that the system has taken; it stops to grow when the client stops to read."""
        return self.bytes_written - self._bytes_waiting

    @property
    def is_blocked(self) -> bool:
        """Whether bytes wait that the system does not take, since the client does not read."""
        return self._bytes_waiting > 0

    async def blocked(self, turns: int = 50) -> None:
        """Wait until the system has taken nothing for so many turns of the loop, although bytes wait.

        Raises `RuntimeError` if the reply ends first.
        """
        still, before = 0, -1
        while still < turns:
            if self.ended.is_set():
                raise RuntimeError(f"the reply is over ({self.outcome}): nothing waits")
            await asyncio.sleep(0)
            sent = self.bytes_sent
            still = still + 1 if self.is_blocked and sent == before else 0
            before = sent

    @property
    def _bytes_waiting(self) -> int:
        return self._bytes_left if self.ended.is_set() else self.connection.transport.get_write_buffer_size()

    def end(self, outcome: Outcome) -> None:
        """Note how the reply ended; the first word counts."""
        if not self.ended.is_set():
            self._bytes_left = self._bytes_waiting
            self.outcome = outcome
            self.ended.set()

    def __repr__(self) -> str:
        return f"<request {self.number}: {self.method} {self.path}, {self.outcome}>"


class _Server(web.Server):
    """aiohttp's low-level server, which also tells about connections."""

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        made: Callable[[web.RequestHandler, asyncio.Transport], None],
        lost: Callable[[web.RequestHandler], None],
    ) -> None:
        super().__init__(answer, handler_cancellation=True, access_log=None)
        self._made, self._lost = made, lost

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._made(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._lost(handler)


class _Played(web.StreamResponse):
    """Tells aiohttp that the reply is already on the wire, and whether the connection may serve another."""

    def __init__(self, *, stays_open: bool) -> None:
        super().__init__()
        self._stays_open = stays_open

    @property
    def keep_alive(self) -> bool:
        return self._stays_open

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002  # nothing is left to do
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002
        return None


class Simulator:
    """A local provider: `async with Simulator() as simulator: ... simulator.base_url("openai.chat")`.

    Listens on loopback, on a free port unless told otherwise. What a request is answered with is,
    in this order: the `Script` in its header `x-rxstream-simulate`; the next one of `expect`; what
    the name of its model stands for (`simulated-fast` and others, see `MODELS`); the run's own.
    """

    def __init__(self, settings: Settings = DEFAULTS, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.settings = settings
        self.host, self.port = host, port
        """Where it listens; the port is known once it has started."""
        self.requests: deque[ReceivedRequest] = deque(maxlen=KEPT_REQUESTS)
        """The requests so far; of very many, the last ones."""
        self.requests_made = 0
        self.expected: deque[Script] = deque()
        """The scripts of `expect` that are still to come."""
        self.connections_made = 0
        self.connections_lost = 0
        self._connections: dict[web.RequestHandler, Connection] = {}
        self._met: Counter[bytes] = Counter()
        self._answers: dict[str, tuple[Script, Turn]] = {}
        self._changed = asyncio.Event()
        self._server: _Server | None = None
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> "Simulator":
        self._server = _Server(self._answer, self._connected, self._disconnected)
        self._listener = await asyncio.get_running_loop().create_server(self._server, self.host, self.port)
        for listening in self._listener.sockets:
            if self.settings.send_buffer is not None:  # those that it accepts inherit it
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.settings.send_buffer)
            self.port = listening.getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._listener is None or self._server is None:
            return
        self._listener.close()
        for connection in list(self._connections.values()):
            connection.transport.abort()
        await self._until(lambda: not self._connections)
        await self._server.shutdown(timeout=1)
        await self._listener.wait_closed()

    @property
    def url(self) -> str:
        """The server's address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def base_url(self, api: str) -> str:
        """Return the base URL that a client of `api` is to be given."""
        return self.url + api_named(api).base_path

    def expect(self, *scripts: Script) -> None:
        """Answer the next requests with `scripts`, one each, in order."""
        self.expected.extend(scripts)

    @property
    def open_connections(self) -> int:
        """How many connections clients hold right now."""
        return self.connections_made - self.connections_lost

    async def received(self, number: int = 1) -> ReceivedRequest:
        """Wait for the request with this number, counted from 1."""
        await self._until(lambda: self.requests_made >= number)
        return next(request for request in self.requests if request.number == number)

    async def connection_closed(self, number: int = 1) -> None:
        """Wait until so many connections have been closed since the start."""
        await self._until(lambda: self.connections_lost >= number)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def _tell(self) -> None:
        """Wake up whoever waits for something to change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _connected(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=0)  # writing waits until the system has taken everything
        self._connections[handler] = Connection(transport)
        self.connections_made += 1
        self._tell()

    def _disconnected(self, handler: web.RequestHandler) -> None:
        connection = self._connections.pop(handler, None)
        if connection is not None:
            self.connections_lost += 1
            connection.closed.set()
            self._tell()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = self._connections[request.protocol]
        if request.headers.get("expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.path, headers, await request.content.read(), dict(request.query))
        self.requests_made += 1
        received = ReceivedRequest(asked, self.requests_made, connection)
        self.requests.append(received)
        self._tell()
        if connection.drops_next:
            received.end("dropped")
            connection.transport.close()
            return _Played(stays_open=False)
        made = self._reply(asked, received, keep_alive=request.keep_alive, chunks=request.version >= HttpVersion11)
        connection.drops_next = made.drops_next
        try:
            is_whole = await self._perform(made, received, request.writer)
        except asyncio.CancelledError:  # in the middle of a wait
            received.end("client left")
            raise
        except ConnectionError:  # in the middle of a write
            received.end("client left")
            return _Played(stays_open=False)
        return _Played(stays_open=is_whole and made.stays_open)

    def _reply(self, asked: Asked, received: ReceivedRequest, *, keep_alive: bool, chunks: bool) -> Reply:
        """Decide what `asked` is answered with."""
        api = next((api for api in apis().values() if _is_for(asked, api)), None)
        if api is None:
            return plain_reply(_nobody(asked), keep_alive=keep_alive)
        received.api = api.name
        turn = Turn(number=received.number, at=int(time.time()), seed=self.settings.seed)
        try:
            if self.settings.key is not None and api.key_of(asked.headers) != self.settings.key:
                raise Refusal(401)
            if asked.method == "GET" and (resumption := api.resumes(asked)) is not None:
                turn = self._turn_again(resumption)
                received.script = script = self._answers[resumption.id][0]
                return self._replied(api, script, turn, keep_alive=keep_alive, chunks=chunks)
            if asked.method == "GET":
                headers = {**api.headers(turn), "content-type": "application/json"}
                return plain_reply(Said(200, headers, api.models(list(models.MODELS), turn)), keep_alive=keep_alive)
            turn = msgspec.structs.replace(api.read(asked), number=turn.number, at=turn.at, seed=turn.seed)
            if api.counts(asked):
                headers = {**api.headers(turn), "content-type": "application/json"}
                return plain_reply(Said(200, headers, api.count(turn)), keep_alive=keep_alive)
            received.script = script = self._due(self._script_for(asked, turn))
            if api.answer_id is not None:
                self._remember(api.answer_id(turn), script, turn)
        except Refusal as refusal:
            return plain_reply(api.refuse(refusal, turn), keep_alive=keep_alive)
        return self._replied(api, script, turn, keep_alive=keep_alive, chunks=chunks)

    def _replied(self, api: Api, script: Script, turn: Turn, *, keep_alive: bool, chunks: bool) -> Reply:
        settings = self.settings
        return reply(
            api, script, turn, speed=settings.speed, writes=settings.writes, keep_alive=keep_alive, chunks=chunks
        )

    def _remember(self, id: str, script: Script, turn: Turn) -> None:
        """Keep what an answer may be given again from; what befell it the first time will not befall it again."""
        self._answers[id] = msgspec.structs.replace(script, faults=()), turn
        if len(self._answers) > KEPT_REQUESTS:
            del self._answers[next(iter(self._answers))]

    def _turn_again(self, resumption: Resumption) -> Turn:
        if resumption.id not in self._answers:
            raise Refusal(404, f"Response with id '{resumption.id}' not found.")
        _, turn = self._answers[resumption.id]
        return msgspec.structs.replace(turn, stream=resumption.stream, starting_after=resumption.after)

    def _script_for(self, asked: Asked, turn: Turn) -> Script:
        """The script that a request gets; raises `Refusal` if it asks for one that is none."""
        obeys = self.settings.obeys_requests
        if obeys and SCRIPT_HEADER in asked.headers:
            try:
                return msgspec.json.decode(asked.headers[SCRIPT_HEADER], type=Script)
            except msgspec.DecodeError as error:
                raise Refusal(400, f"header {SCRIPT_HEADER}: {error}") from error
        if self.expected:
            return self.expected.popleft()
        try:
            return (obeys and models.named(turn.model)) or self.settings.script
        except LookupError as error:
            raise Refusal(404, str(error)) from error

    def _due(self, script: Script) -> Script:
        """`script` without the faults that have happened often enough."""
        return msgspec.structs.replace(script, faults=tuple(fault for fault in script.faults if self._is_due(fault)))

    def _is_due(self, fault: Fault) -> bool:
        if fault.times is None:
            return True
        key = msgspec.json.encode(fault)
        self._met[key] += 1
        return self._met[key] <= fault.times

    async def _perform(self, made: Reply, received: ReceivedRequest, writer: AbstractStreamWriter) -> bool:
        """Do the steps of `made`; return whether they were all done."""
        now = asyncio.get_running_loop().time
        due = now()
        for step in made.steps:
            match step:
                case Write(data=data):
                    received.bytes_written += len(data)
                    await writer.write(data)
                    await writer.drain()
                    await asyncio.sleep(0)  # so that a reader in this loop gets its turn
                case Wait(seconds=seconds):
                    if seconds is None:
                        await self._wait_for_the_end(received)
                    else:
                        due += seconds
                        await asyncio.sleep(max(0, due - now()))
                case Close(how=how):
                    received.end("cut")
                    await self._give_up(received, how)
                    return False
        received.end("whole")
        return True

    @staticmethod
    async def _wait_for_the_end(received: ReceivedRequest) -> None:
        """Wait until the client goes away, which cancels this."""
        received.stalled.set()
        await asyncio.get_running_loop().create_future()

    async def _give_up(self, received: ReceivedRequest, how: Literal["reset", "close", "half_close"]) -> None:
        transport = received.connection.transport
        if how == "half_close":
            transport.write_eof()
            await self._wait_for_the_end(received)
        if how == "reset":
            linger = struct.pack("ii", 1, 0)  # on, for no time: closing sends a reset
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        transport.close()


def _is_for(asked: Asked, api: Api) -> bool:
    if asked.method == "GET":
        return api.lists_models(asked) or api.resumes(asked) is not None
    return asked.method == "POST" and (api.answers(asked) or api.counts(asked))


def _nobody(asked: Asked) -> Said:
    """What a request for nothing that there is gets."""
    paths = sorted({path for api in apis().values() for path in api.paths})
    if asked.method == "GET" and asked.path == "/":
        lines = ["This is the simulator of rxstream. It answers:", *paths, "", "Models:", *models.MODELS]
        return Said(200, {"content-type": "text/plain; charset=utf-8"}, "\n".join([*lines, ""]).encode())
    message = f"Invalid URL ({asked.method} {asked.path}); the simulator answers {', '.join(paths)}"
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": "unknown_url"}
    return Said(404, {"content-type": "application/json"}, to_json({"error": error}))


async def serve(
    settings: Settings = DEFAULTS,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    started: Callable[[Simulator], None] | None = None,
) -> None:
    """Run a simulator until this is cancelled; `started` is called once it listens.

    Raises `OSError` if it cannot listen there.
    """
    async with Simulator(settings, host=host, port=port) as simulator:
        if started is not None:
            started(simulator)
        await asyncio.get_running_loop().create_future()


@contextmanager
def simulator_in_background(
    settings: Settings = DEFAULTS, *, host: str = "127.0.0.1", port: int = 0
) -> Generator[Simulator]:
    """Run a simulator on a thread of its own, for programs without an event loop.

    Its numbers may be read from any thread, its events only be waited for on its own.
    """
    began: Future[tuple[Simulator, Callable[[], object]]] = Future()

    async def run() -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with Simulator(settings, host=host, port=port) as simulator:
                began.set_result((simulator, lambda: loop.call_soon_threadsafe(stopped.set)))
                await stopped.wait()
        except Exception as error:
            if began.done():
                raise
            began.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="rxstream simulator", daemon=True)
    thread.start()
    simulator, stop = began.result()
    try:
        yield simulator
    finally:
        stop()
        thread.join()
