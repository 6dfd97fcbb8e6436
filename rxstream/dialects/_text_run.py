"""Text deltas that differ from an earlier event in their text alone, read without reading their JSON again.

A service sends thousands of events that are the same but for one string. Once a dialect
has read one of them, what stands before and after that string is known, and so is what
an event that begins and ends in the same way means: a JSON string holds no bare quote,
so the first quote after the beginning ends it, and everything else is equal, byte for
byte. Whatever differs in any way is read as always. The texts themselves are read
together, as one JSON array of strings.
"""

from collections.abc import Callable
from itertools import repeat

from msgspec.json import Decoder

from rxstream.errors import ProtocolError
from rxstream.framing.sse import SseEvent
from rxstream.tokens import StreamToken, TextDelta

PROBE = "rxstream"
MANY = 1 << 16
"""More events than any chunk has."""

_read_strings = Decoder(list[str]).decode


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
        """What stands between text and padding; empty where there is no padding."""
        self._last = b""
        """What stands after text and padding."""
        self._between = b""
        """`_last` and the beginning of one more such event."""
        self._unknown = 0
        self._most = MANY
        """Events to read together; less where some could not be."""

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
        self._after, self._last = self._split(b'"' + after)
        self._between = self._last + self._before

    def _is_text(self, probe: bytes) -> bool:
        try:
            return self._read_text(probe) == PROBE
        except ProtocolError:
            return False

    def _split(self, after: bytes) -> tuple[bytes, bytes]:
        """What stands between text and padding, and behind that."""
        if self._padding is None:
            return b"", after + b"\n\n"
        if not self._padding:
            body = after.rstrip()
            return body.removesuffix(b"}").rstrip(b" "), b"}" + after[len(body) :] + b"\n\n"
        start, found, rest = after.rpartition(self._padding)
        if found and rest.endswith(b'"}') and rest[:-2].isalnum():
            return start + found, b'"}\n\n'
        return b"", after + b"\n\n"

    def skim(self, made: list[StreamToken], chunk: bytes, start: int) -> int:
        """Add the deltas of the events from `start` on to `made`, as far as they are understood; return where."""
        if not self._before or not chunk.startswith(self._before, start):
            return start
        most = self._most
        while most:
            texts, end = self._raw_texts(chunk, start, most)
            if not texts:
                return start
            if (strings := _strings(texts)) is not None:
                made += map(TextDelta, strings, repeat(self._index))
                self._most = min(2 * most, MANY)
                return end
            most = len(texts) // 2  # one of them is to be read in full; the next time we begin with so few
            self._most = most or 1
        return start

    def _raw_texts(self, chunk: bytes, start: int, most: int) -> tuple[list[bytes], int]:
        """The texts of up to `most` events from `start` on, as they stand in JSON, and where the last event ends.

        There is no quote in any of them.
        """
        after, close, last, between = self._after, self._close, self._last, self._between
        size, size_after, size_between, size_last = len(self._before), len(after), len(between), len(last)
        is_filling = bytes.isalnum if self._padding else _is_blank
        find, starts_with = chunk.find, chunk.startswith
        texts: list[bytes] = []
        add = texts.append
        text_start = start + size
        for _ in range(most):
            text_end = over = find(b'"', text_start)
            if after:
                if not starts_with(after, text_end):
                    break
                filling = text_end + size_after
                over = find(close, filling)
                if not is_filling(chunk[filling:over]):
                    break
            if starts_with(between, over):
                add(chunk[text_start:text_end])
                text_start = over + size_between
            elif starts_with(last, over):
                add(chunk[text_start:text_end])
                return texts, over + size_last
            else:
                break
        return texts, text_start - size


def _is_plain(text: str) -> bool:
    """Whether `text` stands in JSON as it is."""
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


def _is_blank(filling: bytes) -> bool:
    return not filling.strip(b" ")


def _strings(texts: list[bytes]) -> list[str] | None:
    """Return what `texts`, which hold no quotes, mean in JSON; `None` if one of them is empty, or no string of JSON."""
    joined = b'","'.join(texts)
    if b'\\"' in joined or joined.endswith(b"\\"):  # a quote of ours would not end its string
        return None
    try:
        strings = _read_strings(b'["%b"]' % joined)
    except ValueError:  # of which what is no UTF-8 is one too
        return None
    return strings if all(strings) else None
