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
live one floor down: `rxstream.framing`, `rxstream.tokenizer`, `rxstream.flow`,
`rxstream.schedulers`, `rxstream.operators`, `rxstream.taps`, `rxstream.sources`,
`rxstream.sinks`, `rxstream.pipeline`, `rxstream.simulator`.

The door is opened room by room: `import rxstream` imports nothing else, and a name
brings its room when it is first asked for.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from rxstream._version import __version__ as __version__

if TYPE_CHECKING:  # the same as in _NAMES below, for those who read without running
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
    from rxstream.flow import BackpressureConfig, Overflow, RetryPolicy, StreamBackpressureController
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
    from rxstream.operators import (
        ContentFilter,
        MessageSnapshot,
        PartialJson,
        Redactor,
        TokenAccumulator,
        Verdict,
        accumulate,
        budget,
        buffered,
        content_filter,
        count_text,
        count_tokens,
        decode,
        decode_frames,
        decode_token_ids,
        dedupe_repetition,
        deliver_on,
        fan_out,
        frames,
        guard,
        json_elements,
        map_async,
        once,
        parse_aws_event_stream,
        parse_ndjson,
        parse_sse,
        partial_json,
        rate_limit,
        redact,
        snapshots,
        split_thinking,
        take_until_stop,
        text,
        throttle_text,
        tool_calls,
    )
    from rxstream.pipeline import StreamingPipeline, StreamPipelineBuilder
    from rxstream.providers import AiProvider, Health
    from rxstream.rx import StreamTransformer, lift
    from rxstream.sinks import collect, iterate, to_async_iterator
    from rxstream.sources import Deadlines, HttpStreamHandler, Recording, from_async_iterable, recordings, replay
    from rxstream.taps import (
        NO_METRICS,
        MetricsRegistry,
        MetricsSummary,
        StreamMetrics,
        record,
        tap_log,
        tap_message,
        tap_metrics,
        tap_progress,
    )
    from rxstream.tokens import (
        Citation,
        FinishReason,
        FunctionCall,
        LogProbs,
        Media,
        RawEvent,
        ReasoningDelta,
        RefusalDelta,
        Retract,
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
    "NO_METRICS",
    "AiProvider",
    "AssembledChoice",
    "AssembledMessage",
    "AssembledToolCall",
    "AuthenticationError",
    "BackpressureConfig",
    "BufferOverflowError",
    "Capabilities",
    "ChatRequest",
    "Citation",
    "ConfigurationError",
    "ConnectTimeoutError",
    "ContentBlockedError",
    "ContentFilter",
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
    "MessageSnapshot",
    "MetricsRegistry",
    "MetricsSummary",
    "NotFoundError",
    "Overflow",
    "OverloadedError",
    "PartialJson",
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
    "Recording",
    "Redactor",
    "RefusalDelta",
    "Retract",
    "RetryPolicy",
    "ServerError",
    "StreamBackpressureController",
    "StreamEnd",
    "StreamError",
    "StreamMetrics",
    "StreamPipelineBuilder",
    "StreamStart",
    "StreamToken",
    "StreamTransformer",
    "StreamingPipeline",
    "SubscriberError",
    "TextDelta",
    "TextPart",
    "TokenAccumulator",
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
    "Verdict",
    "accumulate",
    "budget",
    "buffered",
    "chain",
    "collect",
    "content_filter",
    "count_text",
    "count_tokens",
    "decode",
    "decode_frames",
    "decode_token_ids",
    "dedupe_repetition",
    "deliver_on",
    "fan_out",
    "frames",
    "from_async_iterable",
    "from_json",
    "from_msgpack",
    "guard",
    "iterate",
    "json_elements",
    "lift",
    "map_async",
    "merge_deltas",
    "once",
    "parse_aws_event_stream",
    "parse_ndjson",
    "parse_sse",
    "partial_json",
    "rate_limit",
    "record",
    "recordings",
    "redact",
    "replay",
    "snapshots",
    "split_thinking",
    "take_until_stop",
    "tap_log",
    "tap_message",
    "tap_metrics",
    "tap_progress",
    "text",
    "throttle_text",
    "to_async_iterator",
    "to_dict",
    "to_json",
    "to_msgpack",
    "tool_calls",
]

_NAMES = {
    "dialect": "Capabilities Dialect RateLimits",
    "errors": """
        AuthenticationError BufferOverflowError ConfigurationError ConnectTimeoutError ContentBlockedError
        DeadlineError FirstContentTimeoutError FramingError IdleTimeoutError InvalidRequestError NotFoundError
        OverloadedError PermissionDeniedError ProtocolError ProviderError QuotaExceededError RateLimitedError
        ServerError StreamError SubscriberError TotalTimeoutError TransportError TruncatedStreamError
    """,
    "flow": "BackpressureConfig Overflow RetryPolicy StreamBackpressureController",
    "machine": "Machine chain",
    "messages": """
        AssembledChoice AssembledMessage AssembledToolCall ChatRequest ErrorInfo ImagePart JsonSchema Message
        MessageAssembler Reasoning ReasoningPart TextPart Tool ToolCallPart ToolNamed ToolResultPart Usage
    """,
    "operators": """
        ContentFilter MessageSnapshot PartialJson Redactor TokenAccumulator Verdict accumulate budget buffered
        content_filter count_text count_tokens decode decode_frames decode_token_ids dedupe_repetition deliver_on
        fan_out frames guard json_elements map_async once parse_aws_event_stream parse_ndjson parse_sse partial_json
        rate_limit redact snapshots split_thinking take_until_stop text throttle_text tool_calls
    """,
    "pipeline": "StreamingPipeline StreamPipelineBuilder",
    "providers": "AiProvider Health",
    "rx": "StreamTransformer lift",
    "sinks": "collect iterate to_async_iterator",
    "sources": "Deadlines HttpStreamHandler Recording from_async_iterable recordings replay",
    "taps": """
        NO_METRICS MetricsRegistry MetricsSummary StreamMetrics record tap_log tap_message tap_metrics tap_progress
    """,
    "tokens": """
        Citation FinishReason FunctionCall LogProbs Media RawEvent ReasoningDelta RefusalDelta Retract StreamEnd
        StreamStart StreamToken TextDelta TokenLogProb ToolCall ToolCallDelta ToolCallStart ToolCallTruncated
        UsageReport from_json from_msgpack merge_deltas to_dict to_json to_msgpack
    """,
}
"""What each room gives to the front door."""
_ROOM_OF = {name: room for room, names in _NAMES.items() for name in names.split()}
_ROOMS = {*_NAMES, "dialects", "framing", "schedulers", "simulator", "tokenizer"}
"""What can be reached as `rxstream.room` without an import of its own."""

if not TYPE_CHECKING:  # a checker that saw this would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Import what is asked for, and keep it, so that it is asked for once."""
        if name in _ROOM_OF:
            value = getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
        elif name in _ROOMS:
            value = import_module(f"{__name__}.{name}")
        else:
            # With both arguments Python can say what was meant.
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_ROOM_OF, *_ROOMS})
