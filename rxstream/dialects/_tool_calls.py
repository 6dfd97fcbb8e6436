"""The tool calls of one stream, from the pieces in which services send them.

Shared by the dialects. A dialect names each call by a *slot*, whatever tells its
service's calls apart: a block's index, a choice and an index. What comes in for a
slot becomes, in this order and under one key:

1. `ToolCallStart`, once the real name is known. Ids and names may come late,
   twice, as "" or as "null"; the first real one counts.
2. a `ToolCallDelta` for each piece of argument text. Text that came before the
   name is held, and given after the start as one delta.
3. one `ToolCall` if the text is whole, valid JSON when the call is finished, else
   `ToolCallTruncated`. A call whose name never came is truncated too. Free text is whole
   when its call is, whatever it is.

A finished slot is free again: what comes for it next begins another call.
"""

import json
from collections.abc import Hashable

import msgspec

from rxstream.dialects._values import is_shallow
from rxstream.errors import ProtocolError
from rxstream.framing.tolerant_json import read_json
from rxstream.surrogates import mend_text, mend_value
from rxstream.tokens import (
    FunctionCall,
    Json,
    StreamToken,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
)


class ToolCalls:
    """The calls of one stream: pieces in, tokens out, in time linear in their text."""

    def __init__(self) -> None:
        self._open: dict[Hashable, _Call] = {}
        self._of_choice: dict[int, dict[Hashable, None]] = {}  # which slots of `_open`, in their order
        self._begun = 0

    def __contains__(self, slot: Hashable) -> bool:
        """Whether a call of `slot` is open."""
        return slot in self._open

    def id(self, slot: Hashable) -> str | None:
        """The id of the open call of `slot`, if there is such a call and its id is known."""
        call = self._open.get(slot)
        return call and call.id

    def name(self, slot: Hashable) -> str | None:
        """The name of the open call of `slot`, if there is such a call and its name is known."""
        call = self._open.get(slot)
        return call and call.name

    def text(self, slot: Hashable) -> str:
        """The argument text of the open call of `slot` as far as it came; nothing if there is no such call."""
        call = self._open.get(slot)
        if call is None:
            return ""
        text = "".join(call.pieces)
        call.pieces = [text] if text else []  # or whoever asks after each piece would have it joined as often
        return text

    def came_whole(self, slot: Hashable) -> bool:
        """Whether the arguments of the open call of `slot` are whole, and came in one piece."""
        call = self._open.get(slot)
        if call is None or not call.is_one_piece or call.pieces[0].isspace():
            return False
        return whole_arguments(call.pieces[0]) is not None

    def begin_or_update(
        self,
        slot: Hashable,
        *,
        id: str | None = None,
        name: str | None = None,
        choice: int = 0,
        item_id: str | None = None,
        is_free_text: bool = False,
    ) -> list[StreamToken]:
        """Begin the call of `slot`, or learn its id or name."""
        call = self._call(slot, choice)
        call.id, call.item_id = call.id or real(id), call.item_id or real(item_id)
        call.is_free_text = call.is_free_text or is_free_text
        if call.name is not None or (real_name := real(name)) is None:
            return []
        call.name = real_name
        start: list[StreamToken] = [ToolCallStart(call.key, call.id, real_name, call.choice)]
        held = "".join(call.pieces)
        return [*start, ToolCallDelta(call.key, held)] if held else start

    def add(self, slot: Hashable, arguments: str, *, choice: int = 0) -> list[StreamToken]:
        """Add a piece of argument text to the call of `slot`."""
        call = self._open.get(slot) or self._call(slot, choice)
        if not arguments:
            return []
        call.is_one_piece = not call.pieces
        call.pieces.append(arguments)
        return [] if call.name is None else [ToolCallDelta(call.key, arguments)]

    def give(self, slot: Hashable, arguments: Json, *, choice: int = 0) -> list[StreamToken]:
        """Take the arguments of the call of `slot` as a JSON value, where a service sends no text.

        There is one delta all the same, of the value as JSON; the whole call's `arguments_raw` is `None`.
        Raises `ProtocolError` if the value nests too deeply to be written.
        """
        self._call(slot, choice).is_text = False
        return self.add(slot, _as_text(arguments), choice=choice)

    def replace(self, slot: Hashable, arguments: Json) -> None:
        """Take the JSON value that the arguments of the open call of `slot` came to, where a service sends it in
        pieces of another form than text; it stands in the place of the text that was given meanwhile.

        Raises `ProtocolError` if the value nests too deeply to be written.
        """
        call = self._open[slot]
        call.is_text = False
        call.pieces = [_as_text(arguments)]

    def finish(self, slot: Hashable, *, cut_short: bool = False) -> list[StreamToken]:
        """Finish the call of `slot`; give nothing if none is open.

        `cut_short` says that a limit or a filter stopped the answer. Only text that shows its own end
        (an object, a list, a string) is whole then: no text at all or `12` may have been going on, and free
        text always may.
        """
        call = self._open.pop(slot, None)
        if call is None:
            return []
        self._of_choice[call.choice].pop(slot)
        return call.finished(cut_short=cut_short)

    def finish_all(self, choice: int | None = None, *, cut_short: bool = False) -> list[StreamToken]:
        """Finish the calls of `choice`, or all of them, in the order in which they began."""
        slots = list(self._open if choice is None else self._of_choice.get(choice, ()))
        return [token for slot in slots for token in self.finish(slot, cut_short=cut_short)]

    def cut(self) -> list[StreamToken]:
        """Return the open calls as truncated, in the order in which they began: the stream broke."""
        cut: list[StreamToken] = [call.truncated() for call in self._open.values()]
        self._open.clear()
        self._of_choice.clear()
        return cut

    def _call(self, slot: Hashable, choice: int) -> "_Call":
        call = self._open.get(slot)
        if call is None:
            call = self._open[slot] = _Call(f"call-{self._begun}", choice)
            self._of_choice.setdefault(choice, {})[slot] = None
            self._begun += 1
        return call


class _Call:
    """One call, growing."""

    __slots__ = ("choice", "id", "is_free_text", "is_one_piece", "is_text", "item_id", "key", "name", "pieces")

    def __init__(self, key: str, choice: int) -> None:
        self.key, self.choice = key, choice
        self.id: str | None = None
        self.name: str | None = None
        self.pieces: list[str] = []
        self.is_one_piece = False
        self.is_text = True
        self.item_id: str | None = None
        self.is_free_text = False

    def finished(self, *, cut_short: bool) -> list[StreamToken]:
        if self.name is None and self.id is None and not self.pieces:
            return []  # a place was named, nothing was said in it
        text = mend_text("".join(self.pieces))
        if self.is_free_text:
            return [self.truncated() if cut_short or self.name is None else self._of_free_text(self.name, text)]
        shows_its_end = text.lstrip().startswith(("{", "[", '"'))
        arguments = None if cut_short and not shows_its_end else whole_arguments(text)
        if self.name is None or arguments is None:
            return [self.truncated()]
        raw = text if self.is_text else None
        return [ToolCall(self.key, self.id, FunctionCall(self.name, arguments), raw, self.item_id)]

    def _of_free_text(self, name: str, text: str) -> ToolCall:
        function = FunctionCall(name, json.dumps(text, ensure_ascii=False))
        return ToolCall(self.key, self.id, function, text, self.item_id, is_free_text=True)

    def truncated(self) -> ToolCallTruncated:
        return ToolCallTruncated(self.key, self.id, self.name or "", mend_text("".join(self.pieces)))


def _as_text(arguments: Json) -> str:
    try:
        return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise ProtocolError("the arguments of a tool call nest too deeply") from None


def real(word: str | None) -> str | None:
    """Return an id or a name; `None` for what servers send in the place of one."""
    return None if word in {None, "", "null"} else word


def whole_arguments(text: str) -> str | None:
    """Return argument text as JSON that any reader takes, `{}` for no text at all; `None` if it is not JSON.

    It is `text` itself unless only a tolerant reader takes that: half a UTF-16 pair as an escape, say.
    """
    if not text.strip():
        return "{}"
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return _rewritten(text)
    return text if is_shallow(value) else None


def _rewritten(text: str) -> str | None:
    """What only a tolerant reader takes, as JSON that any takes."""
    try:
        value = mend_value(read_json(text.encode()))
    except (ProtocolError, RecursionError):
        return None
    return _written(value) if is_shallow(value) else None


def _written(value: Json) -> str | None:
    """A value as JSON text; `None` for one that has no such text, such as an infinity."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    return text
