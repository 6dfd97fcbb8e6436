"""A dialect of a few lines, for tests of what is the same for all dialects.

A body is lines: `start`, `text <words>`, `ping`, `error <message>`, `nonsense`, `end`.
"""

from rxstream.dialect import Decoder, Dialect, HttpRequest, RateLimits
from rxstream.errors import ProtocolError, TruncatedStreamError, provider_error
from rxstream.framing import NdjsonParser
from rxstream.tokens import FinishReason, StreamEnd, StreamStart, StreamToken, TextDelta


class ToyDecoder(Decoder[bytes]):
    def feed(self, frame: bytes, /) -> list[StreamToken]:
        word, _, rest = frame.decode().partition(" ")
        if self.ended:
            return []
        match word:
            case "start":
                return [StreamStart("1", "toy", "toy")]
            case "text":
                return [TextDelta(rest)]
            case "ping":
                return []
            case "error":
                raise provider_error(rest, kind=rest)
            case "end":
                self.ended = True
                self.finish_reason = "end"
                return [StreamEnd(FinishReason.STOP, "end")]
            case _:
                raise ProtocolError("no line of the toy API")

    def flush(self) -> list[StreamToken]:
        if not self.ended:
            raise TruncatedStreamError("the body ended without its end mark")
        return []

    def fail(self, error: Exception, /) -> list[StreamToken]:
        return []


TOY = Dialect[bytes](
    name="toy",
    base_url="http://toy.invalid",
    key_variable="TOY_API_KEY",
    build_request=lambda request: HttpRequest(
        "/toy", request.messages[-1].text.encode(), {"content-type": "text/plain"}
    ),
    authorize=lambda key: {"authorization": f"Bearer {key}"},
    parser=NdjsonParser,
    decoder=lambda raw_events: ToyDecoder(),
    read_error=lambda status, headers, body: provider_error(
        body.decode("utf-8", "replace")[:200], status=status, request_id=headers.get("x-request-id")
    ),
    read_limits=lambda headers: RateLimits(details={k: v for k, v in headers.items() if "limit" in k}),
    models_path="/models",
)
