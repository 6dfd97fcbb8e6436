"""Characters that a service cut in two, made whole again.

Some servers cut text by UTF-16 unit: one delta ends in the JSON escape of a high
surrogate, the next begins with its low half. Python reads each as a code point
of its own, which no UTF-8 can carry. `JoinSurrogates` holds the half back until
its other half comes; a half that stays alone becomes U+FFFD.
"""

from typing import TypeVar, cast

import msgspec

from rxstream.tokens import (
    Json,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallTruncated,
)

Delta = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
V = TypeVar("V")


def mend_text(text: str) -> str:
    """Return `text` with surrogate pairs joined and lone halves as U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def mend_value(value: V) -> V:
    """Return a JSON value with every string in it mended."""
    mended: Json = value
    if isinstance(value, str):
        mended = mend_text(value)
    elif isinstance(value, list):
        mended = [mend_value(item) for item in cast(list[Json], value)]
    elif isinstance(value, dict):
        mended = {mend_value(key): mend_value(item) for key, item in cast(dict[Json, Json], value).items()}
    elif isinstance(value, msgspec.Struct):
        fields = {name: mend_value(getattr(value, name)) for name in value.__struct_fields__}
        mended = msgspec.structs.replace(value, **fields)
    return mended


class JoinSurrogates:
    """Tokens in, tokens out: the halves of a character that two deltas share meet in the second."""

    def __init__(self) -> None:
        self._held: dict[Delta, str] = {}  # by channel, an empty delta: the half that waits for its other half

    def feed(self, token: StreamToken) -> list[StreamToken]:
        if isinstance(token, StreamEnd | ToolCall | ToolCallTruncated):  # the other half can't come any more
            return [*self.flush(), mend_value(token)]
        if not isinstance(token, Delta):
            return [mend_value(token)]
        channel = _with_text(token, "")
        text = self._held.pop(channel, "") + _text(token)
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held[channel] = text[-1]
            text = text[:-1]
            if not text and _with_text(token, "", keep=True) == channel:  # nothing but the half, no signature either
                return []
        return [mend_value(_with_text(token, text, keep=True))]

    def flush(self) -> list[StreamToken]:
        """Return what stayed alone, as U+FFFD."""
        alone: list[StreamToken] = [_with_text(channel, "\ufffd") for channel in self._held]
        self._held.clear()
        return alone


def _text(delta: Delta) -> str:
    return delta.arguments if isinstance(delta, ToolCallDelta) else delta.text


def _with_text(delta: Delta, text: str, *, keep: bool = False) -> Delta:
    """A delta of the same channel with other text; what else it holds only if it is to be kept."""
    match delta:
        case ToolCallDelta():
            return ToolCallDelta(delta.key, text)
        case TextDelta():
            return TextDelta(text, delta.index, delta.choice)
        case RefusalDelta():
            return RefusalDelta(text, delta.choice)
        case ReasoningDelta():
            others = (delta.signature, delta.redacted, delta.item_id) if keep else ()
            return ReasoningDelta(text, delta.index, delta.choice, *others)
