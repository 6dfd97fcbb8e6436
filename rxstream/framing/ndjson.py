"""Newline-delimited JSON: one value a line, LF alone ends a line.

Lines of nothing but JSON white space (space, tab, CR) are skipped, though they
count as lines; a BOM is dropped at the very start only; the last line needs no
LF. `NdjsonParser` hands lines out as they are, for a decoder that knows their
type; `ndjson_reader` reads them itself, by the letter of RFC 8259, and says in
which line it stopped.

The unfinished line is kept apart and never looked at again until its end has
come, so the cost is linear in the bytes however they are cut.
"""

import json
from typing import Any, Literal, NoReturn

from rxstream.errors import FramingError
from rxstream.framing.sse import BOM, MAX_LINE_BYTES, Leniency
from rxstream.framing.tolerant_json import integer, is_json
from rxstream.machine import Machine, carrying, chain
from rxstream.tokens import Json

WHITE_SPACE = b" \t\r"
"""What may surround a value within its line; JSON knows no other."""


class MalformedLineError(FramingError):
    """A line is not JSON."""

    def __init__(self, line: int, kind: Literal["invalid_json", "invalid_utf8"], **facts: Any) -> None:
        super().__init__(f"line {line} is not JSON", kind=kind, **facts)
        self.line = line
        """Its number; the first line is 1, and skipped ones count."""


class Lines(Machine[bytes, bytes]):
    """Bytes in, lines out, blank ones too, each without its LF.

    Raises `FramingError` when a line is longer than `max_line_bytes`; `None` is no limit.
    """

    def __init__(self, max_line_bytes: int | None) -> None:
        self._max_line_bytes = float("inf") if max_line_bytes is None else max_line_bytes
        self._held = bytearray()  # the unfinished line
        self._at_start = True  # the first line has not ended: it may begin with a BOM
        self.ended_mid_line = False
        """After the end: whether the input stopped inside a line."""

    def feed(self, chunk: bytes, /) -> list[bytes]:
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines:
            lines[0] = self._take_with(lines[0])
            if len(chunk) > self._max_line_bytes:
                self._check(lines)
        self._held += rest
        if len(self._held) > self._max_line_bytes:
            raise self._error(lines)
        return lines

    def flush(self) -> list[bytes]:
        line = self._take_with(b"")
        self.ended_mid_line = bool(line)
        return [line] if line else []

    def fail(self, error: Exception, /) -> list[bytes]:  # noqa: ARG002  # whatever broke the input
        """Note where the input broke off; the unfinished line is not handed out."""
        self.flush()
        return []

    def _take_with(self, rest: bytes) -> bytes:
        """Return the unfinished line, which ends with `rest`."""
        if self._held:
            self._held += rest
            rest = bytes(self._held)
            self._held.clear()
        if len(rest) > self._max_line_bytes:
            raise self._error([])
        if self._at_start:
            self._at_start = False
            rest = rest.removeprefix(BOM)
        return rest

    def _check(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines):
            if len(line) > self._max_line_bytes:
                raise self._error(lines[:number])

    def _error(self, completed: list[bytes]) -> FramingError:
        message = f"a line has more than {self._max_line_bytes} bytes"
        return FramingError(message, limit="line", completed=completed)


class NdjsonParser(Lines):
    """Bytes in, one frame per line out, wherever the chunks are cut.

    A frame is the line without white space around it; lines of nothing else are
    skipped. Whether it is JSON is for its reader to say. A last line without its LF
    is handed out as it is; not at all if `lenient` is `False`; only if it is whole
    JSON if that is `"whole"`.
    """

    def __init__(self, max_line_bytes: int | None = MAX_LINE_BYTES, *, lenient: Leniency = True) -> None:
        super().__init__(max_line_bytes)
        self._lenient = lenient

    def feed(self, chunk: bytes, /) -> list[bytes]:
        try:
            return _frames(super().feed(chunk))
        except FramingError as error:
            raise carrying(error, _frames(error.frames)) from None

    def flush(self) -> list[bytes]:
        frames = _frames(super().flush())
        if self._lenient is True or (self._lenient and all(map(is_json, frames))):
            return frames
        return []


def ndjson_reader(*, skip_malformed: bool = False, max_line_bytes: int | None = MAX_LINE_BYTES) -> Machine[bytes, Json]:
    """Return a machine: bytes in, the values of their lines out.

    A line that is not JSON in UTF-8 raises `MalformedLineError`, after the values
    before it; with `skip_malformed` it is left out. A line longer than
    `max_line_bytes` raises `FramingError`.
    """
    return chain(Lines(max_line_bytes), _Values(skip_malformed=skip_malformed))


class _Values(Machine[bytes, Json]):
    """Lines in, values out."""

    def __init__(self, *, skip_malformed: bool) -> None:
        self._skip_malformed = skip_malformed
        self._line = 0

    def feed(self, line: bytes, /) -> list[Json]:
        self._line += 1
        if not line.strip(WHITE_SPACE):
            return []
        try:
            return [json.loads(line.decode(), parse_int=integer, parse_constant=_refuse)]
        except UnicodeDecodeError:
            kind = "invalid_utf8"
        except (ValueError, RecursionError):
            kind = "invalid_json"
        if self._skip_malformed:
            return []
        raise MalformedLineError(self._line, kind)

    def flush(self) -> list[Json]:
        return []


def _frames(lines: list[bytes]) -> list[bytes]:
    return [frame for line in lines if (frame := line.strip(WHITE_SPACE))]


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
