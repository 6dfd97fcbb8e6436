"""What is known of a request before it is asked, and providers whose streams are observed."""

from collections.abc import Callable
from copy import copy
from typing import TypeVar
from urllib.parse import urlsplit

from msgspec import Struct
from reactivex import Observable

from rxstream.messages import ChatRequest, Message
from rxstream.providers import AiProvider
from rxstream.tokens import Json, StreamToken

P = TypeVar("P", bound=AiProvider)


class Asked(Struct, frozen=True, kw_only=True):
    """What is known of a request before it is asked."""

    dialect: str | None = None
    model: str | None = None
    address: str | None = None
    port: int | None = None
    request: ChatRequest | None = None


def observed(
    provider: P, observe: Callable[[Callable[[], Asked]], Callable[[Observable[StreamToken]], Observable[StreamToken]]]
) -> P:
    """Return `provider` with streams that go through what `observe` returns; it shares everything else.

    What is asked is told at each subscription, since an address may come from the environment.
    """
    seen = copy(provider)
    ask, go_on = seen.stream, seen.resume

    def told(request: ChatRequest | None) -> Asked:
        address = urlsplit(provider.base_url)  # the provider itself is kept: when it goes, its connections do
        return Asked(
            dialect=provider.dialect.name,
            model=request and request.model,
            address=address.hostname,
            port=address.port or {"http": 80, "https": 443}.get(address.scheme),
            request=request,
        )

    def stream(
        prompt: str | list[Message] | ChatRequest, *, raw_events: bool = False, **options: Json
    ) -> Observable[StreamToken]:
        request = ChatRequest.of(prompt, **options)
        return ask(request, raw_events=raw_events).pipe(observe(lambda: told(request)))

    def resume(response_id: str, *, after: int, raw_events: bool = False) -> Observable[StreamToken]:
        return go_on(response_id, after=after, raw_events=raw_events).pipe(observe(lambda: told(None)))

    seen.stream, seen.resume = stream, resume
    return seen
