"""Text deltas that differ from an earlier event in their text alone, read without reading their JSON again.

A service sends thousands of events that are the same but for one string. Once a dialect
has read one of them, what stands before and after that string is known, and so is what
an event that begins and ends in the same way means: a JSON string holds no bare quote,
so the first quote after the beginning ends it, and everything else is equal, byte for
byte. Whatever differs in any way, or has an escape in its text, is read as always.
"""

from collections.abc import Callable

from rxstream.errors import ProtocolError
from rxstream.framing.sse import SseEvent
from rxstream.tokens import StreamToken, TextDelta

PROBE = "rxstream"


class TextRun:
    """What is known of the text events of one stream.

    `read_text` reads the data of an event with the dialect's own eyes: its text, if the event is nothing but
    one piece of it; else `None`. Some services fill events up so that their size tells nothing: `padding` is
    what stands before that, in the form `"name":"`, where it is in a string of letters and digits that ends the
    object; empty where it is spaces before the last bracket; `None` where there is none.
    """

    def __init__(self, read_text: Callable[[bytes], str | None], *, padding: bytes | None = None) -> None:
        self._read_text = read_text
        self._padding = padding
        self._close = b'"' if padding else b"}"
        self._index = 0
        self._before = b""
        """All up to the text, with its line's beginning; empty while nothing is known."""
        self._after = b""
        """All after it; where there is padding, up to that."""
        self._end = b""
        """All after the padding."""
        self._unknown = 0

    def learn(self, frame: SseEvent, text: str, index: int = 0) -> None:
        """Take note of an event that gave `text` in block `index`, and was not understood before.

        Looks at the first, second, fourth, eighth … of them.
        """
        self._unknown += 1
        if self._unknown & (self._unknown - 1) or not _is_plain(text) or b"\n" in frame.data:
            return
        before, quoted, after = frame.data.partition(f'"{text}"'.encode())
        probe = before + f'"{PROBE}"'.encode() + after
        if not quoted or not self._is_text(probe):
            return  # the first such string in the event is another one, or none
        line = b"data: " if frame.event == "message" else f"event: {frame.event}\ndata: ".encode()
        self._index = index
        self._before = line + before + b'"'
        self._after, self._end = self._split(b'"' + after)

    def _is_text(self, probe: bytes) -> bool:
        try:
            return self._read_text(probe) == PROBE
        except ProtocolError:
            return False

    def _split(self, after: bytes) -> tuple[bytes, bytes]:
        """What stands between text and padding, and behind that."""
        if self._padding is None:
            return after + b"\n\n", b""
        if not self._padding:
            body = after.rstrip()
            return body.removesuffix(b"}").rstrip(b" "), b"}" + after[len(body) :] + b"\n\n"
        start, found, rest = after.rpartition(self._padding)
        if found and rest.endswith(b'"}') and rest[:-2].isalnum():
            return start + found, b'"}\n\n'
        return after + b"\n\n", b""

    def skim(self, made: list[StreamToken], chunk: bytes, start: int) -> int:
        """Add the deltas of the events from `start` on to `made`, as far as they are understood; return where."""
        before, after, end, close = self._before, self._after, self._end, self._close
        if not before:
            return start
        size, size_after, size_end, index = len(before), len(after), len(end), self._index
        find, starts_with = chunk.find, chunk.startswith
        while starts_with(before, start):
            text_start = start + size
            text_end = find(b'"', text_start)
            if not starts_with(after, text_end):
                break
            over = text_end + size_after
            if end:
                padded = find(close, over)
                if not starts_with(end, padded) or not self._is_padding(chunk, over, padded):
                    break
                over = padded + size_end
            try:
                text = str(chunk[text_start:text_end], "utf-8")
            except UnicodeDecodeError:
                break
            if not text or "\\" in text or not text.isprintable():
                break
            made.append(TextDelta(text, index))
            start = over
        return start

    def _is_padding(self, chunk: bytes, start: int, end: int) -> bool:
        if self._padding:
            return chunk[start:end].isalnum()
        return chunk.count(b" ", start, end) == end - start


def _is_plain(text: str) -> bool:
    """Whether `text` stands in JSON as it is."""
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text
