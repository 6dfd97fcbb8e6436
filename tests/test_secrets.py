"""Nothing that comes out says a secret: markers are planted in every dialect and preset, and all that came is searched.

What may say what: a recording, a notebook and standard output hold the answer, since it is what they are for. An
error's `.partial` is the message so far. Nothing else says anything of the answer, and nothing at all says a key, a
header, a query, a password or what was asked.
"""

import asyncio
import io
import json
import logging
import reprlib
import traceback
from base64 import b64encode
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from reactivex import Observable

from rxstream.cli import main
from rxstream.dialects import dialect, dialects, presets
from rxstream.errors import StreamError
from rxstream.flow import RetryPolicy
from rxstream.messages import ChatRequest, Message, TextPart, ToolCallPart
from rxstream.notebook.page import AnswerPage
from rxstream.pipeline import StreamPipelineBuilder
from rxstream.providers import AiProvider
from rxstream.simulator import (
    FAST,
    At,
    ErrorEvent,
    HttpError,
    Script,
    ScriptedCall,
    Settings,
    apis,
    chunks,
    simulator_in_background,
)
from rxstream.simulator.api import Api, Refusal
from rxstream.simulator.turn import ANY_TURN
from rxstream.sources import Deadlines, HttpStreamHandler
from rxstream.taps import MetricsRegistry, StreamMetrics, record, tap_log, tap_metrics
from rxstream.tokens import StreamToken
from tests.loopback import Exchange, MovableLoop, serving, turns

pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` and the SDK are not installed")
pytest.importorskip("prometheus_client", reason="the extra `prometheus` is not installed")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from rxstream.integrations.opentelemetry import instrumented
from rxstream.integrations.prometheus import PrometheusMetrics

KEY, PASSWORD, QUERY, HEADER, PROMPT, PAST, ANSWER, CALL = (
    f"zq{what}7f3a9e1c55d0" for what in ("key", "password", "query", "header", "prompt", "past", "answer", "call")
)
ACCOUNT = b64encode(f"me:{PASSWORD}".encode()).decode()
ASKED = [KEY, PASSWORD, ACCOUNT, QUERY, HEADER, PROMPT, PAST]
"""What no one may say."""
SAID = [ANSWER, CALL]
"""What only those may say that are there for it."""

SCRIPT = Script(deltas=(ANSWER, " and more"), tool_calls=(ScriptedCall("look", {"at": CALL}),))
SPOKEN = {name: name for name in dialects() if name in apis()}
NAMES = {
    **SPOKEN,
    **dict.fromkeys(presets(), "openai.chat"),
    "azure.responses": "openai.responses",
    "vertex": "gemini.generate",
}
"""Every dialect and preset, and whose words the server gives it."""
MODELS = {"bedrock.invoke": "anthropic.some-model"}
STATUSES = [400, 401, 402, 403, 404, 429, 500, 503]
"""One for each class of refusal."""
ONCE = RetryPolicy(retries=0)

Serve = Callable[[Exchange, Api], Awaitable[None]]


# What the server does


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def echo(exchange: Exchange) -> str:
    """All that a request said: what it had not, nobody but the server knows to hide."""
    request = (exchange.head + exchange.body).decode()
    heard = [mark for mark in ASKED if mark.lower() in request] + [PASSWORD] * (ACCOUNT.lower() in request)
    return f"no to {' and '.join(heard)}"


def refusing(status: int, *, code: str | None = None) -> Serve:
    async def serve(exchange: Exchange, api: Api) -> None:
        said = api.refuse(Refusal(status, echo(exchange), code=code), ANY_TURN)
        headers = {**said.headers, "x-request-id": code or "r1", "content-length": str(len(said.body))}
        await exchange.send(head(said.status, headers) + said.body)

    return serve


async def refuse_in_a_line(exchange: Exchange, api: Api) -> None:
    line = echo(exchange).encode()
    await exchange.send(head(401, {"content-type": "text/plain", "content-length": str(len(line))}) + line)


async def answer(exchange: Exchange, api: Api) -> None:
    await begin(exchange, api)
    for chunk in chunks(api.name, SCRIPT):
        await exchange.send_chunk(chunk)
    await exchange.send_chunk(b"")


async def begin(exchange: Exchange, api: Api) -> None:
    await exchange.send(head(200, {"content-type": api.content_type, "transfer-encoding": "chunked"}))


def beginning_then(*rest: Callable[[Exchange, Api], bytes], raw: bytes = b"", resets: bool = False) -> Serve:
    """Half an answer, and then what is wrong with it."""

    async def serve(exchange: Exchange, api: Api) -> None:
        await begin(exchange, api)
        given = list(chunks(api.name, SCRIPT))
        for chunk in [*given[: len(given) // 2], *(wrong(exchange, api) for wrong in rest)]:
            await exchange.send_chunk(chunk)
        if raw:
            await exchange.send(raw)
        elif resets:
            exchange.reset()
        else:
            await exchange.send_chunk(b"")

    return serve


def unreadable(exchange: Exchange, api: Api) -> bytes:
    """Events that cannot be read, and hold the answer."""
    return api.garbage + b'data: {"a": "' + ANSWER.encode() + b'\xff"\n\n{"b": "' + ANSWER.encode() + b"\xfe\n"


def told_off(exchange: Exchange, api: Api) -> bytes:
    return api.error_event(ErrorEvent(message=echo(exchange)))


async def say_nothing(exchange: Exchange, api: Api) -> None:
    asyncio.get_running_loop().call_soon(asyncio.get_running_loop().move, 1_000)  # type: ignore[attr-defined]  # a MovableLoop
    await exchange.wait_closed_by_client()


async def say_no_http(exchange: Exchange, api: Api) -> None:
    await exchange.send(f"HTP {echo(exchange)} {ANSWER}\r\n\r\n".encode())


async def say_a_page(exchange: Exchange, api: Api) -> None:
    page = f"<html>{echo(exchange)}</html>".encode()
    await exchange.send(head(200, {"content-type": "text/html", "content-length": str(len(page))}) + page)


async def redirect(exchange: Exchange, api: Api) -> None:
    await exchange.send(head(302, {"location": f"http://me:{PASSWORD}@x.invalid/?{QUERY}", "content-length": "0"}))


SCENES: dict[str, Serve] = {
    "success": answer,
    **{f"status {status}": refusing(status) for status in STATUSES},
    "a header for a code": refusing(401, code=HEADER),
    "a line": refuse_in_a_line,
    "an error in the stream": beginning_then(told_off),
    "unreadable events": beginning_then(unreadable),
    "an early end": beginning_then(),
    "a reset": beginning_then(resets=True),
    "broken chunks": beginning_then(raw=f"zz{ANSWER}\r\n".encode()),
    "silence": say_nothing,
    "no HTTP": say_no_http,
    "a page": say_a_page,
    "a redirect": redirect,
}
FEW = ("success", "status 401", "an error in the stream", "a reset")
"""A preset is a dialect's code with other data, so it gets the scenes in which that shows."""


# What comes out


@dataclass
class Out:
    """All that came out, by where: what may only say nothing, and what may say the answer."""

    plain: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    telling: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def found(self) -> list[str]:
        """Where a marker is, and which."""
        everywhere = [(where, text, ASKED + SAID) for where, text in self.plain]
        everywhere += [(where, text, ASKED) for where, text in self.telling]
        said = [(mark, where, text) for where, text, marks in everywhere for mark in marks if mark in text]
        return [f"{mark} in {where}: {_around(mark, text)}" for mark, where, text in said]

    def add_error(self, where: str, error: BaseException) -> None:
        """Look into an exception as deep as it goes."""
        said = "".join(traceback.format_exception(error))
        self.plain.append((f"{where}, formatted", said))
        todo: list[BaseException | None] = [error]
        seen: set[int] = set()
        while todo:
            link = todo.pop()
            if link is None or id(link) in seen:
                continue
            seen.add(id(link))
            facts = {name: fact for name, fact in vars(link).items() if name not in {"partial", "completed"}}
            notes = getattr(link, "__notes__", [])
            self.plain.append((f"{where}, {type(link).__name__}", f"{link} {link!r} {link.args!r} {facts!r} {notes!r}"))
            todo += [link.__cause__, link.__context__]
            if isinstance(link, StreamError) and link.partial is not None:
                self.plain.append((f"{where}, the error of the message so far", repr(link.partial.error)))


def _around(mark: str, text: str) -> str:
    place = text.index(mark)
    return text[max(0, place - 200) : place + 100]


@contextmanager
def logged(out: Out) -> Generator[None]:
    """Collect every line of stdlib logging and structlog, at the lowest level there is."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)r"))
    root = logging.getLogger()
    level, handlers = root.level, root.handlers
    root.handlers = [handler]  # pytest would keep it all a second time
    root.setLevel(logging.DEBUG)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(written))
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
        structlog.reset_defaults()
        out.plain.append(("the log", written.getvalue()))


def run_logged(out: Out, test: Callable[[], Awaitable[None]]) -> None:
    """Run `test` on a loop of its own, with all that is logged."""

    async def run() -> None:
        await test()
        await turns()

    with logged(out), asyncio.Runner(loop_factory=MovableLoop) as runner:
        runner.run(run())


def run_debugging(out: Out, test: Callable[[], Awaitable[None]], patch: pytest.MonkeyPatch) -> None:
    """Run `test` on a loop in debug mode that finds everything slow, and so logs it: with what its tasks hold."""
    wordy = reprlib.Repr()
    wordy.maxstring = wordy.maxother = 100_000
    patch.setattr(reprlib, "repr", wordy.repr)  # asyncio shortens what it logs

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0
        await test()
        await turns()
        loop.slow_callback_duration = 60  # what follows is not ours to be looked at

    with logged(out), asyncio.Runner(debug=True, loop_factory=MovableLoop) as runner:
        runner.run(run())


def request_for(name: str) -> ChatRequest:
    """A request with markers in all that people write."""
    told: list[Message] = [Message("user", PROMPT)]
    if dialect(name).capabilities.tools:
        told = [
            Message("system", PROMPT),
            Message("user", [TextPart(PROMPT)]),
            Message("assistant", [ToolCallPart("call_1", "look", json.dumps({"at": PAST}))]),
            Message.tool_result("call_1", PAST, name="look"),
        ]
    return ChatRequest(model=MODELS.get(name, "some-model"), messages=told)


@dataclass
class Listener:
    """Subscribes to a stream and keeps what there is to know of it."""

    out: Out
    file: Path
    registry: MetricsRegistry = field(default_factory=MetricsRegistry)
    tokens: list[StreamToken] = field(default_factory=list[StreamToken])
    error: Exception | None = None

    def __post_init__(self) -> None:
        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self._tracers, self._meters = TracerProvider(), MeterProvider([self._reader])
        self._tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._prometheus = CollectorRegistry()
        self._counted = PrometheusMetrics(self._prometheus)

    def watched(self, provider: AiProvider) -> AiProvider:
        """The provider, reported to OpenTelemetry and Prometheus."""
        reported = instrumented(provider, tracer_provider=self._tracers, meter_provider=self._meters)
        return self._counted.instrumented(reported)

    def note_reports(self) -> None:
        """Take note of what was exported."""
        self.out.plain += [("a span", span.to_json()) for span in self._spans.get_finished_spans()]
        metrics = self._reader.get_metrics_data()
        assert metrics is not None
        self.out.plain.append(("the metrics", metrics.to_json() + generate_latest(self._prometheus).decode()))
        self._tracers.shutdown()
        self._meters.shutdown()

    async def hear(self, where: str, stream: Observable[StreamToken]) -> None:
        """Hear `stream` to its end, through every tap."""
        metrics, over = StreamMetrics(), asyncio.Event()
        self.tokens, self.error = [], None

        def fail(error: Exception) -> None:
            self.error = error
            over.set()

        tapped = stream.pipe(tap_log(), tap_metrics(metrics), tap_metrics(self.registry), record(self.file, api="it"))
        tapped.subscribe(self.tokens.append, fail, over.set)
        await over.wait()
        if self.error is not None:
            self.out.add_error(where, self.error)
        for thing in (stream, tapped, metrics, metrics.summary(), self.registry.summary()):
            self.out.plain.append((where, f"{thing!r} {thing} {getattr(thing, '_repr_html_', str)()}"))
        page = AnswerPage()
        page.extend(self.tokens)
        page.end("complete" if self.error is None else "failed", self.error)
        self.out.telling.append(
            (f"{where}, in a notebook", page.html(metrics.summary()) + page.plain(metrics.summary()))
        )


def providers_for(name: str, url: str, patch: pytest.MonkeyPatch) -> Iterator[AiProvider]:
    """Providers that are given their key in each way there is: by argument, environment, function, and address."""
    options: dict[str, Any] = {"headers": {"x-gateway": HEADER}, "retry": ONCE, "deadlines": Deadlines()}
    address = f"{url}/v1?sig={QUERY}"
    yield AiProvider(name, api_key=KEY, base_url=address, **options)
    variable = dialect(name).key_variable
    if variable is not None:
        patch.setenv(variable, KEY)
        yield AiProvider(name, base_url=address, **options)
    yield AiProvider(name, api_key=lambda: KEY, base_url=address, **options)
    with_account = address.replace("http://", f"http://me:{PASSWORD}@")
    yield AiProvider(name, api_key=None, base_url=with_account, **options)


async def hear_scenes(name: str, scenes: Iterable[str], listener: Listener, patch: pytest.MonkeyPatch) -> None:
    """Play `scenes`, each to a provider of a kind in turn and to the one with an account in its address."""
    api, scene = apis()[NAMES[name]], ""

    async def handle(exchange: Exchange) -> None:
        if await exchange.read_request():
            await SCENES[scene](exchange, api)

    async with serving(handle) as url:
        givers = list(providers_for(name, url, patch))
        for number, scene in enumerate(scenes):
            for provider in givers if scene == "success" else [givers[number % 3], givers[3]]:
                where = f"{scene} of {provider!r}"
                await listener.hear(where, listener.watched(provider).stream(request_for(name)))
                assert (listener.error is None) == (scene == "success"), where
        for provider in givers:
            html = provider._repr_html_()  # pyright: ignore[reportPrivateUsage]  # what a notebook asks for
            shown = f"{provider!r} {provider} {html} {provider.rate_limits}"
            listener.out.plain.append(("a repr", shown))
            await provider.aclose()
    listener.note_reports()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_comes_out_says_a_secret(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, file = Out(), tmp_path / "it.rec"
    scenes = SCENES if name in SPOKEN else FEW

    run_logged(out, lambda: hear_scenes(name, scenes, Listener(out, file), monkeypatch))

    recorded = file.read_text()
    assert ANSWER in recorded  # so the markers are where they can be found
    out.telling.append(("the recording", recorded))
    assert out.found() == []


@pytest.mark.parametrize("name", SPOKEN)
def test_asyncios_debug_mode_says_no_secret(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Out()

    run_debugging(out, lambda: hear_scenes(name, FEW, Listener(out, tmp_path / "it.rec"), monkeypatch), monkeypatch)

    assert "took" in out.plain[-1][1]  # everything was slow
    assert out.found() == []


def refused_before_sending(name: str, url: str) -> Iterator[tuple[str, Observable[StreamToken]]]:
    """Streams that fail before a request is made, or before it could be sent."""
    options: dict[str, Any] = {"api_key": KEY, "retry": ONCE, "headers": {"x-gateway": HEADER}}
    whole = request_for(name)
    address = f"{url}/v1?sig={QUERY}"
    good = AiProvider(name, base_url=address, **options)
    yield "a model of two lines", good.stream(whole, model=f"some\r\n{PROMPT}: 1")
    yield "half a character", good.stream([Message("user", PROMPT + "\ud83d")], model=whole.model)
    yield "choices without end", good.stream(whole, n=2, logprobs=3, stop=[PROMPT] * 99)
    yield (
        "arguments that are none",
        good.stream([Message("assistant", [ToolCallPart("1", "look", f"{{{PAST}")])], model=whole.model),
    )

    def keyless() -> str:
        raise OSError(f"the vault would not give {KEY}")

    keyless_options: dict[str, Any] = {**options, "api_key": keyless}
    yield "no key", AiProvider(name, **keyless_options, base_url=address).stream(whole)
    broken: dict[str, Any] = {**options, "api_key": lambda: f"{KEY}\n{KEY}"}
    yield "a broken key", AiProvider(name, **broken, base_url=address).stream(whole)
    nobody = "http://127.0.0.1:1"
    yield "nobody there", AiProvider(name, **options, base_url=f"{nobody}/?sig={QUERY}").stream(whole)
    no_tls = address.replace("http://", "https://")
    yield "no TLS", AiProvider(name, **options, base_url=no_tls).stream(whole)
    yield "no proxy", AiProvider(name, **options, base_url=address, environment_proxies=True).stream(whole)


@pytest.mark.parametrize("name", SPOKEN)
def test_no_refusal_before_an_answer_says_a_secret(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:{PASSWORD}@127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    out = Out()

    async def hear_all() -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.reader.read(1)  # of a request, or of what TLS begins with
            await exchange.send(ANSWER.encode())

        listener = Listener(out, tmp_path / "it.rec")
        async with serving(handle) as url:
            for where, stream in refused_before_sending(name, url):
                await listener.hear(where, stream)
                assert isinstance(listener.error, StreamError), where

    run_debugging(out, hear_all, monkeypatch)

    assert out.found() == []


@pytest.mark.parametrize("name", SPOKEN)
def test_no_repr_says_what_it_works_on(name: str) -> None:
    request = dialect(name).build_request(request_for(name))
    provider = AiProvider(name, api_key=KEY, base_url=f"http://me:{PASSWORD}@x.invalid/?sig={QUERY}")
    handler = HttpStreamHandler(name)
    pipeline = StreamPipelineBuilder().build()

    out = Out()
    things = (
        request,
        provider,
        handler,
        pipeline,
        dialect(name),
        provider.stream(request_for(name)),
        handler.into_stream(b""),
    )
    out.plain += [("a repr", f"{thing!r} {thing}") for thing in things]

    assert out.found() == []


COMMANDS: dict[str, Script] = {
    "success": SCRIPT,
    "a refusal": Script(faults=(HttpError(status=401, message=f"no: {KEY} {QUERY} {PROMPT}", code=KEY),)),
    "an error in the stream": Script(
        text=ANSWER, faults=(ErrorEvent(at=At(tokens=1), message=f"no: {KEY} {QUERY} {PROMPT}"),)
    ),
}


@pytest.mark.parametrize("how", COMMANDS)
def test_the_command_line_says_the_answer_and_no_secret(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = Out(), tmp_path / "it.rec"

    with simulator_in_background(Settings(script=COMMANDS[how], speed=FAST)) as simulator, logged(out):
        for number, name in enumerate(SPOKEN):
            monkeypatch.setenv(dialect(name).key_variable or "NO_KEY", KEY)
            url = f"{simulator.base_url(name)}?sig={QUERY}"
            options = ["-m", f"{name}:{MODELS.get(name, 'some-model')}", "--base-url", url, "--metrics", PROMPT]
            assert main(["chat", "--json" if number % 2 else "--plain", "--record", str(file), *options]) == (
                how != "success"
            )
            shown = capsys.readouterr()
            out.telling.append((f"standard output, {name}", shown.out))
            out.plain.append((f"standard error, {name}", shown.err))
    main(["providers"])
    main(["providers", "--json"])
    out.plain.append(("the list of providers", "".join(capsys.readouterr())))
    quoted = how == "an error in the stream"  # bytes stay as the service sent them, or no recording could be replayed
    out.telling.append(("the recording", "" if quoted else file.read_text()))

    assert out.found() == []
