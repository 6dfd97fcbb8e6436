"""rxstream: the streaming answer of a language model as an Rx `Observable` of typed tokens.

    import asyncio

    from rxstream import AiProvider, iterate


    async def main() -> None:
        async with AiProvider("openai.chat") as openai:
            async with iterate(openai.stream("Why is the sky blue?", model="gpt-5")) as tokens:
                async for token in tokens:
                    print(token)


    asyncio.run(main())

Everything that most programs need is here. The parts that others are built of
live one floor down: `rxstream.framing`, `rxstream.flow`, `rxstream.schedulers`,
`rxstream.operators`, `rxstream.sources`, `rxstream.sinks`, `rxstream.simulator`.
"""

from rxstream.dialect import Capabilities, Dialect, RateLimits
from rxstream.errors import (
    AuthenticationError,
    BufferOverflowError,
    ConfigurationError,
    ConnectTimeoutError,
    ContentBlockedError,
    DeadlineError,
    FirstContentTimeoutError,
    FramingError,
    IdleTimeoutError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    StreamError,
    SubscriberError,
    TotalTimeoutError,
    TransportError,
    TruncatedStreamError,
)
from rxstream.flow import RetryPolicy
from rxstream.machine import Machine, chain
from rxstream.messages import (
    AssembledChoice,
    AssembledMessage,
    AssembledToolCall,
    ChatRequest,
    ErrorInfo,
    ImagePart,
    JsonSchema,
    Message,
    MessageAssembler,
    Reasoning,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolNamed,
    ToolResultPart,
    Usage,
)
from rxstream.operators import decode, decode_frames, parse_ndjson, parse_sse, text, tool_calls
from rxstream.providers import AiProvider, Health
from rxstream.rx import lift
from rxstream.sinks import collect, iterate
from rxstream.sources import Deadlines, HttpStreamHandler
from rxstream.tokens import (
    Citation,
    FinishReason,
    FunctionCall,
    LogProbs,
    Media,
    RawEvent,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    TokenLogProb,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
    UsageReport,
    from_json,
    from_msgpack,
    merge_deltas,
    to_dict,
    to_json,
    to_msgpack,
)

__all__ = [
    "AiProvider",
    "AssembledChoice",
    "AssembledMessage",
    "AssembledToolCall",
    "AuthenticationError",
    "BufferOverflowError",
    "Capabilities",
    "ChatRequest",
    "Citation",
    "ConfigurationError",
    "ConnectTimeoutError",
    "ContentBlockedError",
    "DeadlineError",
    "Deadlines",
    "Dialect",
    "ErrorInfo",
    "FinishReason",
    "FirstContentTimeoutError",
    "FramingError",
    "FunctionCall",
    "Health",
    "HttpStreamHandler",
    "IdleTimeoutError",
    "ImagePart",
    "InvalidRequestError",
    "JsonSchema",
    "LogProbs",
    "Machine",
    "Media",
    "Message",
    "MessageAssembler",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "ProtocolError",
    "ProviderError",
    "QuotaExceededError",
    "RateLimitedError",
    "RateLimits",
    "RawEvent",
    "Reasoning",
    "ReasoningDelta",
    "ReasoningPart",
    "RefusalDelta",
    "RetryPolicy",
    "ServerError",
    "StreamEnd",
    "StreamError",
    "StreamStart",
    "StreamToken",
    "SubscriberError",
    "TextDelta",
    "TextPart",
    "TokenLogProb",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallPart",
    "ToolCallStart",
    "ToolCallTruncated",
    "ToolNamed",
    "ToolResultPart",
    "TotalTimeoutError",
    "TransportError",
    "TruncatedStreamError",
    "Usage",
    "UsageReport",
    "chain",
    "collect",
    "decode",
    "decode_frames",
    "from_json",
    "from_msgpack",
    "iterate",
    "lift",
    "merge_deltas",
    "parse_ndjson",
    "parse_sse",
    "text",
    "to_dict",
    "to_json",
    "to_msgpack",
    "tool_calls",
]
