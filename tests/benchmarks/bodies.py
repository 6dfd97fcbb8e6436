"""The bytes that every contender reads: a chat completion of any length, in events as OpenAI sends them."""

import json

WORDS = ("The", " sky", " is", " blue", " because", " air", " scatters", " short", " waves", " more", ".")


def chat_events(count: int) -> list[bytes]:
    """Return the events of an answer with `count` text deltas: about 330 bytes each, then usage and `[DONE]`."""
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

    deltas = [event({"content": WORDS[number % len(WORDS)]}) for number in range(count)]
    usage = {"prompt_tokens": 9, "completion_tokens": count, "total_tokens": count + 9}
    last = b"data: " + json.dumps({**facts, "choices": [], "usage": usage}).encode() + b"\n\n"
    return [event({"role": "assistant", "content": ""}), *deltas, event({}, "stop"), last, b"data: [DONE]\n\n"]


def expected_text(count: int) -> int:
    """Return how many characters an answer of `count` deltas has: each contender checks that it read them all."""
    return sum(len(WORDS[number % len(WORDS)]) for number in range(count))
