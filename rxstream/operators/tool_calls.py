"""The calls that a stream asks its reader to make."""

from collections.abc import Callable

from reactivex import Observable

from rxstream.rx import lift
from rxstream.tokens import StreamToken, ToolCall


def tool_calls() -> Callable[[Observable[StreamToken]], Observable[ToolCall]]:
    """Give each whole tool call once, when it is complete; a truncated one never."""
    return lift(_ToolCalls)


class _ToolCalls:
    def feed(self, token: StreamToken) -> list[ToolCall]:
        return [token] if isinstance(token, ToolCall) else []

    def flush(self) -> list[ToolCall]:
        return []
