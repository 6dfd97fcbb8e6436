"""Operators for `pipe`: one per file, named after it."""

from rxstream.operators.decode import decode, decode_frames
from rxstream.operators.parse_ndjson import parse_ndjson
from rxstream.operators.parse_sse import parse_sse
from rxstream.operators.retry_before_content import retry_before_content
from rxstream.operators.text import text
from rxstream.operators.tool_calls import tool_calls

__all__ = [
    "decode",
    "decode_frames",
    "parse_ndjson",
    "parse_sse",
    "retry_before_content",
    "text",
    "tool_calls",
]
