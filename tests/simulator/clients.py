"""Small clients for the simulator: what an application would send, and what comes back byte for byte."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec

from rxstream.dialects import dialect
from rxstream.messages import AssembledMessage
from rxstream.simulator import SCRIPT_HEADER, Script, Simulator

APIS = ["anthropic.messages", "openai.chat", "openai.responses"]
SPOKEN = sorted(
    [
        *APIS,
        *("bedrock.converse", "bedrock.invoke", "cohere.v1", "cohere.v2", "mistral.chat", "gemini.generate"),
        "ollama.native",
    ]
)
"""What the laws of answers hold for; `APIS` are those that the tests of the server ask."""
PATHS = {
    "anthropic.messages": "/v1/messages",
    "openai.chat": "/v1/chat/completions",
    "openai.responses": "/v1/responses",
}
HEADERS = {"anthropic.messages": {"anthropic-version": "2023-06-01"}, "openai.chat": {}, "openai.responses": {}}
BODIES: dict[str, dict[str, Any]] = {
    "anthropic.messages": {"max_tokens": 1_000},
    "openai.chat": {"stream_options": {"include_usage": True}},
    "openai.responses": {"messages": None, "input": "Why is the sky blue?"},
}


class Got(NamedTuple):
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def body_for(api: str, **fields: Any) -> dict[str, Any]:
    """Return a small request for `api`; a field that is `None` is left out."""
    asked = {"model": "any", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "stream": True}
    whole = {**asked, **BODIES[api], **fields}
    return {name: value for name, value in whole.items() if value is not None}


def headers_for(api: str, script: Script | None = None, **more: str) -> dict[str, str]:
    """Return the headers of a request to `api`, with `script` as the one that is asked for."""
    chosen = {} if script is None else {SCRIPT_HEADER: msgspec.json.encode(script).decode()}
    return {**HEADERS[api], **chosen, **more}


async def ask(simulator: Simulator, api: str, script: Script | None = None, **fields: Any) -> Got:
    """Send a request and read the whole answer."""
    async with aiohttp.ClientSession() as session:
        return await ask_in(session, simulator, api, script, **fields)


async def ask_in(
    session: aiohttp.ClientSession, simulator: Simulator, api: str, script: Script | None = None, **fields: Any
) -> Got:
    """Send a request in `session` and read the whole answer."""
    url, headers = simulator.url + PATHS[api], headers_for(api, script)
    async with session.post(url, json=body_for(api, **fields), headers=headers) as response:
        return Got(
            response.status, {name.lower(): each for name, each in response.headers.items()}, await response.read()
        )


class Raw:
    """A TCP connection that shows every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | asyncio.Transport) -> None:
        self.reader, self.writer = reader, writer

    def send(self, api: str, script: Script | None = None, *, version: str = "1.1", **fields: Any) -> None:
        """Send a request, without waiting for anything."""
        body = msgspec.json.encode(body_for(api, **fields))
        lines = [f"POST {PATHS[api]} HTTP/{version}", "host: simulator", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers_for(api, script).items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def rest(self) -> tuple[bytes, bool]:
        """Read until the connection ends; return the bytes, and whether it ended in a reset."""
        read = bytearray()
        try:
            while chunk := await self.reader.read(65_536):
                read += chunk
        except ConnectionResetError:
            return bytes(read), True
        return bytes(read), False


@asynccontextmanager
async def raw(simulator: Simulator) -> AsyncGenerator[Raw]:
    """Open a TCP connection to `simulator`."""
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


def read_message(api: str, body: bytes) -> AssembledMessage:
    """Read a stream's body with rxstream's own dialect; raises the `StreamError` that it ends in."""
    reader = dialect(api).read_body()
    reader.feed(body)
    reader.flush()
    return reader.message


def unchunked(wire: bytes) -> tuple[bytes, bytes, bool]:
    """Split a reply into head and body; the flag says whether HTTP said that the body is over."""
    head, _, rest = wire.partition(b"\r\n\r\n")
    body = bytearray()
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return head, bytes(body), rest == b"\r\n"
        body += rest[:length]
        rest = rest[length + 2 :]
    return head, bytes(body), False
