"""What a careful programmer declares with msgspec to read the events of one service: only what is used."""

import msgspec


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice]


class _Part(msgspec.Struct):
    text: str | None = None


class _Event(msgspec.Struct):
    type: str
    delta: _Part | None = None


decode_chat = msgspec.json.Decoder(_Chunk).decode
"""Reads the data of an event of a chat completion."""
decode_message = msgspec.json.Decoder(_Event).decode
"""Reads the data of an event of an answer of Anthropic's Messages API."""
