"""What the simulated model has to say when nobody wrote a script for it."""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import cast
from zlib import crc32

from rxstream.simulator.pieces import pieces
from rxstream.tokens import Json

_REPLIES = (
    (
        "You asked about “{topic}”. I come with rxstream and know nothing at all, but I can say it one token at a time."
        " Like a good café, a stream is best enjoyed slowly: word by word, sip by sip. ☕ When you want a real answer,"
        " give me a key and the name of a model; everything after the first byte stays the same."
    ),
    (
        "“{topic}” is a fine thing to wonder about. A real model would now think hard; I only pretend to, without a"
        " network and without a bill. Watch how the words arrive, though: 「一歩一歩」, step by step, exactly as they"
        " would from far away. Stop me whenever you like, and the connection closes at once."
    ),
    (
        "Let me see: “{topic}”. There are people who know about this, and books, and even models. I am none of them: I"
        " am a small server on your own machine, made to be listened to. Ask for trouble and I will stall, stumble or"
        " hang up in the middle of a word. Otherwise I stay polite to the end. 🙂"
    ),
)
_LONGER = (
    " There is more to say, and I have all day.",
    " A stream never hurries the one who reads it.",
    " Naïve readers count characters; careful ones count bytes.",
    " 流れは止まらない, as they say by the river.",
    " What comes next is very much like what came before.",
    " Somewhere a buffer fills, and a gate closes quietly. 🌊",
)
_THOUGHTS = (
    "The user wants to know about “{topic}”. I have no knowledge of it, being a simulation, so I should say so kindly,"
    " keep it short, and show how a stream of tokens looks."
)
_RESULTS = "The tools have answered, so here is what I make of it: {results}. That is all they told me. ✓"


def reply(prompt: str, *, variant: int = 0, length: int | None = None) -> list[str]:
    """Return an answer to `prompt` in pieces: a few sentences, or exactly `length` pieces."""
    chosen = _REPLIES[(crc32(prompt.encode("utf-8", "replace")) + variant) % len(_REPLIES)]
    said = pieces(chosen.format(topic=topic_of(prompt)))
    if length is None:
        return said
    more = [piece for sentence in _LONGER for piece in pieces(sentence)]
    return [*said[:length], *islice(cycle(more), max(0, length - len(said)))]


def reply_to(results: Sequence[str]) -> list[str]:
    """Return an answer that tells what tools gave, in pieces."""
    return pieces(_RESULTS.format(results="; ".join(results)))


def thoughts(prompt: str) -> str:
    """Return what might go through the model's head about `prompt`."""
    return _THOUGHTS.format(topic=topic_of(prompt))


def topic_of(prompt: str, longest: int = 60) -> str:
    """Return the first line of `prompt`, cut at a word where it is long."""
    line = next((line for line in prompt.splitlines() if line.strip()), "nothing in particular")
    words = " ".join(line.split())
    return words if len(words) <= longest else words[:longest].rsplit(" ", 1)[0] + "…"


def arguments_for(schema: Mapping[str, Json], prompt: str) -> Json:
    """Return a value that plausibly fits the JSON schema of a tool's arguments."""
    if "const" in schema:
        return schema["const"]
    chosen: list[Json] = schema.get("enum") or schema.get("examples") or []
    if chosen:
        return chosen[0]
    if "default" in schema:
        return schema["default"]
    options: list[Json] = schema.get("anyOf") or schema.get("oneOf") or []
    if options:
        return arguments_for(as_object(options[0]), prompt)
    properties = as_object(schema.get("properties"))
    kind: Json = schema.get("type", "object" if properties else "string")
    if kind == "object":
        return {name: arguments_for(as_object(each), prompt) for name, each in properties.items()}
    if kind == "array":
        return [arguments_for(as_object(schema.get("items")), prompt)]
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    if kind in ("boolean", "null"):
        return True if kind == "boolean" else None
    return topic_of(prompt)


def as_object(value: Json) -> dict[str, Json]:
    """Return `value` if it is an object, otherwise an empty one."""
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}
