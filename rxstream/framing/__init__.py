"""Bytes to frames: one file per format, and the JSON inside them."""

from rxstream.framing.aws_event_stream import AwsEventStreamParser, AwsMessage
from rxstream.framing.json_stream import JsonGrower
from rxstream.framing.ndjson import MalformedLineError, NdjsonParser, ndjson_reader
from rxstream.framing.sse import SseEvent, SseParser, UnknownLines
from rxstream.framing.tolerant_json import JsonReader, read_json

__all__ = [
    "AwsEventStreamParser",
    "AwsMessage",
    "JsonGrower",
    "JsonReader",
    "MalformedLineError",
    "NdjsonParser",
    "SseEvent",
    "SseParser",
    "UnknownLines",
    "ndjson_reader",
    "read_json",
]
