"""What a vendor's own SDK sends: recorded on loopback, to hold our requests against."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from rxstream.dialect import HttpRequest
from tests.loopback import Exchange, serving


class Sent(Struct, frozen=True):
    """A request as a server got it."""

    path: str
    """In lower case, as all of the head is recorded."""
    head: bytes
    body: dict[str, Any]


async def sent_by(ask: Callable[[str], Awaitable[object]], answer: bytes, content_type: str) -> Sent:
    """Let `ask` send one request to the address it is given; answer it with `answer`."""
    received: list[Sent] = []

    async def handle(exchange: Exchange) -> None:
        if await exchange.read_request():
            path = exchange.head.split()[1].decode()
            received.append(Sent(path, exchange.head, json.loads(exchange.body)))
            head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n"
            await exchange.send(head.encode() + answer)

    async with serving(handle) as address:
        await ask(address)
    [sent] = received
    return sent


def written(request: HttpRequest) -> dict[str, Any]:
    """The body of a request of ours."""
    return json.loads(request.body)
