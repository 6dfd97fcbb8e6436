"""Operators for `pipe`: one per file, named after it."""

from rxstream.operators.accumulate import TokenAccumulator, accumulate
from rxstream.operators.budget import budget
from rxstream.operators.buffered import buffered
from rxstream.operators.content_filter import ContentFilter, content_filter
from rxstream.operators.count_tokens import count_text, count_tokens
from rxstream.operators.decode import decode, decode_frames
from rxstream.operators.decode_token_ids import decode_token_ids
from rxstream.operators.dedupe_repetition import dedupe_repetition
from rxstream.operators.deliver_on import deliver_on
from rxstream.operators.fan_out import fan_out
from rxstream.operators.frames import frames
from rxstream.operators.guard import Verdict, guard
from rxstream.operators.json_elements import JsonElementReader, json_elements
from rxstream.operators.map_async import map_async
from rxstream.operators.once import once
from rxstream.operators.parse_aws_event_stream import parse_aws_event_stream
from rxstream.operators.parse_ndjson import parse_ndjson
from rxstream.operators.parse_sse import parse_sse
from rxstream.operators.partial_json import PartialJson, PartialJsonReader, partial_json
from rxstream.operators.rate_limit import RateLimiter, rate_limit
from rxstream.operators.redact import SECRETS, Redactor, redact
from rxstream.operators.retry_before_content import retry_before_content
from rxstream.operators.snapshots import MessageSnapshot, Snapshotter, snapshots
from rxstream.operators.split_thinking import ThinkingSplitter, split_thinking
from rxstream.operators.take_until_stop import take_until_stop
from rxstream.operators.text import text
from rxstream.operators.throttle_text import TextThrottle, throttle_text
from rxstream.operators.tool_calls import tool_calls

__all__ = [
    "SECRETS",
    "ContentFilter",
    "JsonElementReader",
    "MessageSnapshot",
    "PartialJson",
    "PartialJsonReader",
    "RateLimiter",
    "Redactor",
    "Snapshotter",
    "TextThrottle",
    "ThinkingSplitter",
    "TokenAccumulator",
    "Verdict",
    "accumulate",
    "budget",
    "buffered",
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
    "guard",
    "json_elements",
    "map_async",
    "once",
    "parse_aws_event_stream",
    "parse_ndjson",
    "parse_sse",
    "partial_json",
    "rate_limit",
    "redact",
    "retry_before_content",
    "snapshots",
    "split_thinking",
    "take_until_stop",
    "text",
    "throttle_text",
    "tool_calls",
]
