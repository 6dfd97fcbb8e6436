"""Token ids to text, where a character may lie across several of them."""

import codecs
from collections.abc import Sequence

from msgspec import Struct

from rxstream.errors import ProtocolError
from rxstream.tokenizer.encodings import Encoding
from rxstream.tokenizer.vocabulary import required_encoding


class DecoderStatistics(Struct, frozen=True):
    """What a `TokenDecoder` has done so far."""

    ids: int
    bytes: int
    characters: int
    """How many were given, U+FFFD for what is no UTF-8 among them."""
    pending_bytes: int
    """How many wait for the rest of their character, at most 3."""


class TokenDecoder:
    """Token ids in, text out, never with half a character.

    `encoding` is an encoding, or the name of one or of a model that uses it. It must be
    on this machine: `ConfigurationError` if it is not, since ids can't be estimated.
    An id that the encoding has not is a `ProtocolError`, which carries the text of the
    ids before it as `.completed`. Bytes that are no UTF-8 become U+FFFD.
    """

    def __init__(self, encoding: Encoding | str) -> None:
        self.encoding = required_encoding(encoding)
        self._characters_of = codecs.getincrementaldecoder("utf-8")("replace")
        self._ids = self._bytes = self._characters = 0

    @property
    def statistics(self) -> DecoderStatistics:
        """What was done so far."""
        pending, _ = self._characters_of.getstate()
        return DecoderStatistics(self._ids, self._bytes, self._characters, len(pending))

    def encode(self, text: str) -> list[int]:
        """Return the ids that decode to `text`, which has no lone surrogates: the way back."""
        return self.encoding.encode_ordinary(text)

    def feed(self, ids: int | Sequence[int]) -> list[str]:
        """Take the next id, or several; return the text that they complete, if any."""
        if isinstance(ids, int):
            return self._text_of([ids], self._bytes_of(ids))
        try:
            data = self.encoding.decode_bytes(ids)
        except (KeyError, OverflowError, TypeError):
            return self._up_to_the_unknown(ids)
        return self._text_of(ids, data)

    def flush(self) -> list[str]:
        """Return what is left of a character that never became whole, as U+FFFD."""
        return self._text_of([], b"", final=True)

    def _text_of(self, ids: Sequence[int], data: bytes, *, final: bool = False) -> list[str]:
        text = self._characters_of.decode(data, final)
        self._ids += len(ids)
        self._bytes += len(data)
        self._characters += len(text)
        return [text] if text else []

    def _bytes_of(self, token_id: int) -> bytes:
        try:
            return self.encoding.decode_single_token_bytes(token_id)
        except (KeyError, OverflowError, TypeError) as error:
            raise ProtocolError(f"{self.encoding.name} has no token id {token_id!r}") from error

    def _up_to_the_unknown(self, ids: Sequence[int]) -> list[str]:
        """Decode `ids` one by one, of which one is unknown: the error carries the text before it."""
        completed: list[str] = []
        for token_id in ids:
            try:
                completed += self._text_of([token_id], self._bytes_of(token_id))
            except ProtocolError as error:
                error.completed = completed
                raise
        return completed
