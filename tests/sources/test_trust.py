"""Whom a provider trusts: certificates, origins, proxies, and what may go into a request at all."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.dialects import dialect, dialects, presets
from rxstream.errors import ConfigurationError, ProtocolError, StreamError, TransportError
from rxstream.flow import RetryPolicy
from rxstream.messages import ChatRequest, Message
from rxstream.providers import AiProvider
from rxstream.sinks import collect
from rxstream.sources.connections import RECEIVED_AT_ONCE, Connector, Listening
from rxstream.sources.http import HttpCall
from tests.loopback import CHUNKED, Exchange, serving
from tests.toy import TOY

BODY = b"start\ntext a\nend\n"
ONCE = RetryPolicy(retries=0)
VARIABLES = [f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")]


async def answer(exchange: Exchange) -> None:
    while await exchange.read_request():
        await exchange.send(CHUNKED)
        await exchange.send_chunk(BODY)
        await exchange.send_chunk(b"")


async def ask(url: str, **options: Any) -> str:
    """Ask the toy service at `url`; return what it said."""
    chosen: dict[str, Any] = {"api_key": "secret-key", "retry": ONCE, **options}
    async with AiProvider(TOY, base_url=url, **chosen) as provider:
        return (await collect(provider.stream("hello", model="toy"))).text


# Certificates


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signed itself, with its key."""
    pytest.importorskip("cryptography", reason="nothing here can make a certificate")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "it.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return file


@asynccontextmanager
async def serving_tls(certificate: Path) -> AsyncGenerator[str]:
    """Serve the toy service by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    connections: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await answer(Exchange(reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in connections:
            connection.transport.abort()
        await server.wait_closed()


async def test_a_certificate_that_nobody_vouches_for_is_refused_and_the_error_says_what_to_do(
    certificate: Path,
) -> None:
    async with serving_tls(certificate) as url:
        with pytest.raises(TransportError) as caught:
            await ask(url)

    assert "127.0.0.1" in str(caught.value)
    assert "certificate verify failed" in str(caught.value)
    assert "ssl_context=" in str(caught.value)
    assert not caught.value.is_retryable


async def test_the_callers_own_context_says_whom_to_trust(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))

    async with serving_tls(certificate) as url:
        assert await ask(url, ssl_context=trusting) == "a"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            assert await ask(url, session=session) == "a"


async def test_what_is_deciphered_is_received_in_small_pieces_too(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    made: list[Any] = []

    class Remembered(Listening):
        """A connection that is looked at afterwards."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            made.append(transport)

    connector: Any = Connector(trusting, ssl=trusting)
    connector._factory = partial(Remembered, loop=asyncio.get_running_loop())
    async with (
        serving_tls(certificate) as url,
        aiohttp.ClientSession(connector=connector) as session,
        session.post(url),
    ):
        deciphering = made[0]._ssl_protocol

    assert deciphering.max_size == RECEIVED_AT_ONCE
    assert vars(SSLProtocol)["max_size"] > RECEIVED_AT_ONCE, "asyncio says in another way how much it deciphers at once"


async def test_a_server_that_speaks_no_tls_is_no_matter_of_certificates() -> None:
    async with serving(answer_with_noise) as url:
        with pytest.raises(TransportError) as caught:
            await ask(url.replace("http:", "https:"))

    assert "127.0.0.1" in str(caught.value)


async def answer_with_noise(exchange: Exchange) -> None:
    await exchange.reader.read(1)
    await exchange.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def test_a_session_brings_its_own_context() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError):
            AiProvider(TOY, session=session, ssl_context=ssl.create_default_context())


# Origins


def call_to(url: str) -> HttpCall:
    return HttpCall(
        method="POST",
        url=url,
        headers={"accept": "it"},
        credentials={"authorization": "Bearer secret-key", "x-gateway": "secret"},
        body=b"",
        refuse=lambda status, headers, body: ProtocolError("no"),
        heed=lambda headers: None,
    )


@pytest.mark.parametrize(
    ("location", "is_same"),
    [
        ("/elsewhere", True),
        ("https://service.example/v2", True),
        ("?other=query", True),
        ("https://SERVICE.example/v2", True),
        ("https://service.example:443/v2", True),
        ("http://service.example/v2", False),
        ("https://service.example:8443/v2", False),
        ("https://service.example.evil.example/v2", False),
        ("https://service.example@evil.example/v2", False),
        ("https://sub.service.example/v2", False),
        ("//evil.example/v2", False),
    ],
)
def test_credentials_stay_with_their_origin(location: str, is_same: bool) -> None:
    redirected = call_to("https://service.example/v1/chat?a=b").redirected(location)

    assert bool(redirected.credentials) == is_same
    assert redirected.headers == {"accept": "it"}


async def test_a_header_of_the_callers_goes_to_its_origin_and_no_other() -> None:
    heads: dict[str, bytes] = {}
    elsewhere = ""

    async def redirect(exchange: Exchange) -> None:
        await exchange.read_request()
        heads["here"] = exchange.head
        await exchange.send(f"HTTP/1.1 307 Go\r\nlocation: {elsewhere}/x\r\ncontent-length: 0\r\n\r\n".encode())

    async def end(exchange: Exchange) -> None:
        await exchange.read_request()
        heads["elsewhere"] = exchange.head
        await exchange.send(CHUNKED)
        await exchange.send_chunk(BODY)
        await exchange.send_chunk(b"")

    async with serving(end) as there, serving(redirect) as here:
        elsewhere = there
        await ask(here, headers={"X-Gateway": "secret-pass", "User-Agent": "mine"})

    assert b"x-gateway: secret-pass" in heads["here"]
    assert b"user-agent: mine" in heads["here"]
    assert b"secret" not in heads["elsewhere"]


async def test_a_key_and_an_account_in_the_address_are_one_too_many() -> None:
    with pytest.raises(ConfigurationError, match="api_key=None") as caught:
        await ask("http://me:secret-word@127.0.0.1:1")

    assert "secret" not in str(caught.value)


async def test_an_account_in_the_address_is_sent_as_one() -> None:
    heads: list[bytes] = []

    async def note(exchange: Exchange) -> None:
        await exchange.read_request()
        heads.append(exchange.head)
        await exchange.send(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n")

    async with serving(note) as url:
        with pytest.raises(StreamError):
            await ask(url.replace("//", "//me:secret-word@"), api_key=None)

    assert b"authorization: basic " in heads[0]


# Proxies


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the environment name a proxy."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)

    def name(url: str) -> None:
        monkeypatch.setenv("http_proxy", url)

    return name


@asynccontextmanager
async def a_proxy(heads: list[bytes]) -> AsyncGenerator[str]:
    """A proxy that answers by itself, and keeps what it was asked."""

    async def handle(exchange: Exchange) -> None:
        while await exchange.read_request():
            heads.append(exchange.head)
            await exchange.send(CHUNKED)
            await exchange.send_chunk(b"start\ntext by proxy\nend\n")
            await exchange.send_chunk(b"")

    async with serving(handle) as url:
        yield url


async def test_a_proxy_of_the_environment_is_used_only_when_asked(proxied: Callable[[str], None]) -> None:
    heads: list[bytes] = []
    async with serving(answer) as url, a_proxy(heads) as proxy:
        proxied(proxy.replace("//", "//me:secret-word@"))

        assert await ask(url) == "a"
        assert heads == []
        assert await ask(url, environment_proxies=True) == "by proxy"

    assert heads[0].startswith(b"post http://127.0.0.1")
    assert b"proxy-authorization: basic " in heads[0]
    assert b"secret-word" not in heads[0]


async def test_a_host_that_the_environment_excepts_goes_by_no_proxy(
    proxied: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[bytes] = []
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with serving(answer) as url, a_proxy(heads) as proxy:
        proxied(proxy)

        assert await ask(url, environment_proxies=True) == "a"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://", "http://[", "ftp://me:secret@x.invalid"])
async def test_a_proxy_that_is_none_is_an_error_that_does_not_quote_it(
    proxy: str, proxied: Callable[[str], None]
) -> None:
    proxied(proxy)

    with pytest.raises(ConfigurationError, match="proxy") as caught:
        await ask("http://service.invalid", environment_proxies=True)

    assert "127.0.0.1" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("proxied")
async def test_a_proxy_that_refuses_is_named_as_what_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.send(b"HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n")

    async with serving(refuse) as proxy:
        monkeypatch.setenv("https_proxy", proxy)
        with pytest.raises(TransportError, match=r"the proxy .*service\.invalid.*407"):
            await ask("https://service.invalid", environment_proxies=True)


# What may go into a request

ODD = st.sampled_from(["\r\n", "\n", "\r", "\0", "\r\nx-evil: 1\r\n\r\n"])
UNSENDABLE = st.tuples(st.text("ab: ", max_size=4), ODD, st.text("ab: ", max_size=4)).map("".join)


async def refused(make: Callable[[str], Awaitable[object]], evil: str) -> None:
    """Make what `make` makes of `evil`: it must be refused, unquoted, before anything is sent."""
    with pytest.raises(ConfigurationError) as caught:
        await make(evil)
    assert "zq" not in str(caught.value) + repr(caught.value)


@given(UNSENDABLE, st.sampled_from(["key", "key of a function", "address", "header", "name of a header", "model"]))
def test_what_would_be_two_lines_is_refused_before_anything_is_sent(evil: str, where: str) -> None:
    nobody = "http://127.0.0.1:1"  # a request would be a TransportError

    def make(evil: str) -> Awaitable[object]:
        match where:
            case "key":
                return ask(nobody, api_key=evil)
            case "key of a function":
                return ask(nobody, api_key=lambda: evil)
            case "address":
                return ask(f"{nobody}/{evil}")
            case "header":
                return ask(nobody, headers={"x-mine": evil})
            case "name of a header":
                return ask(nobody, headers={evil: "it"})
            case _:
                return collect(AiProvider(TOY, base_url=nobody, api_key="k", retry=ONCE).stream("hello", model=evil))

    asyncio.run(refused(make, f"zq{evil}zq"))


@pytest.mark.parametrize("name", [*dialects(), *presets()])
async def test_no_dialect_asks_for_a_model_of_two_lines(name: str) -> None:
    provider = AiProvider(name, api_key="some-key", base_url="http://127.0.0.1:1", retry=ONCE)
    request = ChatRequest(model="zq\r\nx-evil: 1", messages=[Message("user", "hello")])

    await refused(lambda evil: collect(provider.stream(request, model=evil)), "zq\r\nx-evil: 1")
    if dialect(name).count_request is not None:
        await refused(lambda evil: provider.count_tokens(request, model=evil), "zq\r\nx-evil: 1")


@pytest.mark.parametrize(
    "address", ["http://", "http://host:99999", "http://[::1", "http://a b", "http://:80", "ftp://host", "host"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError):
        AiProvider(TOY, base_url=address)


def test_an_address_may_have_come_from_a_file() -> None:
    assert AiProvider(TOY, base_url=" http://host/v1/\n").base_url == "http://host/v1"
