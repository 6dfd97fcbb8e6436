"""Operators for `pipe`: one per file, named after it."""

from rxstream.operators.budget import budget
from rxstream.operators.buffered import buffered
from rxstream.operators.count_tokens import count_text, count_tokens
from rxstream.operators.decode import decode, decode_frames
from rxstream.operators.decode_token_ids import decode_token_ids
from rxstream.operators.deliver_on import deliver_on
from rxstream.operators.fan_out import fan_out
from rxstream.operators.frames import frames
from rxstream.operators.map_async import map_async
from rxstream.operators.parse_ndjson import parse_ndjson
from rxstream.operators.parse_sse import parse_sse
from rxstream.operators.rate_limit import RateLimiter, rate_limit
from rxstream.operators.retry_before_content import retry_before_content
from rxstream.operators.text import text
from rxstream.operators.throttle_text import TextThrottle, throttle_text
from rxstream.operators.tool_calls import tool_calls

__all__ = [
    "RateLimiter",
    "TextThrottle",
    "budget",
    "buffered",
    "count_text",
    "count_tokens",
    "decode",
    "decode_frames",
    "decode_token_ids",
    "deliver_on",
    "fan_out",
    "frames",
    "map_async",
    "parse_ndjson",
    "parse_sse",
    "rate_limit",
    "retry_before_content",
    "text",
    "throttle_text",
    "tool_calls",
]
