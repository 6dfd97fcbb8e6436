"""The bytes that every contender reads: an answer of any length, in events as the two services send them."""

import json
from typing import NamedTuple

WORDS = ("The", " sky", " is", " blue", " because", " air", " scatters", " short", " waves", " more", ".")
PACE = 0.01
"""Seconds between two deltas of a paced stream."""


class Answer(NamedTuple):
    """An answer in its events."""

    beginning: bytes
    deltas: list[bytes]
    """One event for each delta of text: about 330 bytes in a chat, 130 in Anthropic's messages."""
    ending: bytes

    @property
    def body(self) -> bytes:
        return b"".join([self.beginning, *self.deltas, self.ending])


def chat(count: int) -> Answer:
    """Return a chat completion with `count` text deltas."""
    facts = {
        "id": "chatcmpl-DEMOx9Yc0mAqk2LZP7wTbVfRsHuNe",
        "object": "chat.completion.chunk",
        "created": 1_760_000_000,
        "model": "gpt-5-2025-08-07",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }

    def event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = {**facts, "choices": [choice], "usage": None, "obfuscation": "Zx81kQw"}
        return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"

    usage = {"prompt_tokens": 9, "completion_tokens": count, "total_tokens": count + 9}
    last = b"data: " + json.dumps({**facts, "choices": [], "usage": usage}).encode() + b"\n\n"
    return Answer(
        event({"role": "assistant", "content": ""}),
        [event({"content": word}) for word in _words(count)],
        event({}, "stop") + last + b"data: [DONE]\n\n",
    )


def messages(count: int) -> Answer:
    """Return an answer of Anthropic's Messages API with `count` text deltas."""

    def event(kind: str, **facts: object) -> bytes:
        data = json.dumps({"type": kind, **facts}, separators=(",", ":"))
        return f"event: {kind}\ndata: {data}\n\n".encode()

    usage = {"input_tokens": 9, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
    message: dict[str, object] = {
        "id": "msg_01DEMOx9Yc0mAqk2LZP7wTbV",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    stopped = {"stop_reason": "end_turn", "stop_sequence": None}
    return Answer(
        event("message_start", message=message)
        + event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        + event("ping"),
        [event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in _words(count)],
        event("content_block_stop", index=0)
        + event("message_delta", delta=stopped, usage={**usage, "output_tokens": count})
        + event("message_stop"),
    )


def expected_text(count: int) -> int:
    """Return how many characters an answer of `count` deltas has: each contender checks that it read them all."""
    return sum(map(len, _words(count)))


def _words(count: int) -> list[str]:
    return [WORDS[number % len(WORDS)] for number in range(count)]
