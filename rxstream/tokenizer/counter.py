r"""Counting the tokens of a text that comes in pieces.

A token may lie across two deltas, so adding up the counts of the deltas overcounts, by
a third where they are not cut at tokens. But the patterns of these encodings first cut
a text into words, and no token lies across two words. So text is settled, that is
encoded and let go, up to a place that is between two words whatever comes next.

Those places follow from the patterns in `tiktoken_ext/openai_public.py`. They look
ahead only after white space, and behind never; so a place after something else is safe
once no alternative of any pattern matches across it:

- before a plain space, a tab or an ideographic space: white space follows something
  else only as `[\r\n]` or `[\r\n/]`, after punctuation;
- after a letter or number, before white space or punctuation: a word ends in letters,
  a number in numbers, and only the apostrophe of `'s` and its like follows a letter
  (marks do too, so what may be one is not taken for punctuation);
- between a letter and a digit, either way, and between punctuation and a digit.

A letter is what Python calls one. Its tables and tiktoken's may be of different years;
they would have to disagree about a letter assigned in between.
"""

import re

from rxstream.messages import BYTES_PER_TOKEN
from rxstream.tokenizer.encodings import Encoding
from rxstream.tokenizer.vocabulary import Vocabulary, vocabulary

BLOCK = 4096
"""How many characters are held before they are settled, and the longest that is encoded at once."""

_LAST_PLACE = re.compile(
    r"(?s:.*)(?:"
    r"(?<=\S)(?=[ \t\u3000])"
    r"|(?<=[^\W_])(?=[\r\n!-&(-/:-@\[-`{-~\u3001-\u3003\u3008-\u3011\uff01-\uff0f\uff1a-\uff20])"
    r"|(?<=[A-Za-z!-/:-@\[-`{-~])(?=[0-9])"
    r"|(?<=[0-9])(?=[A-Za-z])"
    r")"
)


class TokenCounter:
    """Counts the tokens of a text fed in pieces, wherever it is cut.

    `encoding` is what `vocabulary` takes. Feeding is cheap: text is held, and settled
    every 4,096 characters; reading `count` settles too, at the cost of some ten deltas.

    A stretch of more than 4,096 characters with no place to settle at (one letter,
    space or sign over and over, or a script without spaces or punctuation) is cut
    anyway, and `is_exact` turns false. What such a cut changes ends at the next safe
    place. Measured on runs of two dozen sorts it was no more than four tokens for each
    4,096 characters, over as a rule, and none for most.

    `splits_as_known` says that an encoding of your own splits text with one of the
    patterns of tiktoken's encodings; without it its counts are not called exact.
    """

    def __init__(self, encoding: Vocabulary | Encoding | str | None = None, *, splits_as_known: bool = False) -> None:
        self.vocabulary = vocabulary(encoding)
        self._encoding = self.vocabulary.encoding
        self._is_exact = self.vocabulary.is_exact or (splits_as_known and self._encoding is not None)
        self._settled = 0  # tokens; for an estimate, nothing
        self._held: list[str] = []
        self._held_length = 0  # characters
        self._bytes = 0  # for an estimate, all so far
        self._counted: int | None = 0  # the count, until more comes

    @property
    def is_exact(self) -> bool:
        """Whether `count` is what encoding the whole text at once would give, with the encoding that was meant."""
        return self._is_exact

    @property
    def count(self) -> int:
        """The tokens so far: of the text as if it ended here."""
        if self._counted is None:
            if self._encoding is None:
                self._counted = -(-self._bytes // BYTES_PER_TOKEN)
            else:
                self._settle()
                self._counted = self._settled + self._encoded("".join(self._held))
        return self._counted

    @property
    def most(self) -> int:
        """What `count` is at most, without encoding anything: a token is at least one byte."""
        return self._bytes + self._settled + byte_length("".join(self._held))

    def feed(self, text: str) -> None:
        """Take the next piece."""
        self._counted = None
        length = self._held_length + len(text)
        if self._encoding is None:
            self._bytes += byte_length(text)
        elif length < BLOCK:
            self._held.append(text)
            self._held_length = length
        else:
            self._feed_blocks(text)

    def fitting(self, text: str, limit: int) -> str:
        """Return the longest beginning of `text`, cut at a token, after which `count` would be at most `limit`.

        `text` is at most `BLOCK` long. A character whose bytes are in two tokens is given whole or not at all.
        """
        if self._encoding is None:
            room = max(limit * BYTES_PER_TOKEN - self._bytes, 0)
            data = text.encode(errors="surrogatepass")
            while room < len(data) and data[room] & 0xC0 == 0x80:  # inside a character
                room -= 1
            return data[:room].decode(errors="surrogatepass")
        self._settle()
        tail = "".join(self._held)
        whole = tail + text
        room = limit - self._settled
        ids = self._encoding.encode_ordinary(whole)
        if len(ids) <= room:
            return text
        for end in range(room, 0, -1):
            kept = self._encoding.decode_bytes(ids[:end]).decode(errors="ignore")
            if len(kept) <= len(tail) or not whole.startswith(kept):  # it does not where a lone surrogate was replaced
                return ""
            if self._encoded(kept) <= room:
                return text[: len(kept) - len(tail)]
        return ""

    def _feed_blocks(self, text: str) -> None:
        start = 0
        while start < len(text):
            piece = text[start : start + BLOCK - self._held_length]
            start += len(piece)
            self._held.append(piece)
            self._held_length += len(piece)
            if self._held_length == BLOCK:
                self._settle()
            if self._held_length == BLOCK:
                self._is_exact = False
                self._settle_to(BLOCK)

    def _settle(self) -> None:
        """Settle what no later text can change."""
        held = "".join(self._held)
        if last := _LAST_PLACE.match(held):
            self._settle_to(last.end())

    def _settle_to(self, place: int) -> None:
        held = "".join(self._held)
        self._settled += self._encoded(held[:place])
        self._held, self._held_length = [held[place:]], len(held) - place

    def _encoded(self, text: str) -> int:
        assert self._encoding is not None
        return len(self._encoding.encode_ordinary(text)) if text else 0


def byte_length(text: str) -> int:
    """Return how long `text` is in UTF-8; a lone surrogate is 3 bytes, like the character that replaces it."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
