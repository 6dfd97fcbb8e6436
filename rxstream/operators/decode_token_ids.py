"""Token ids as text."""

from collections.abc import Callable, Sequence

from reactivex import Observable

from rxstream.rx import lift
from rxstream.tokenizer import Encoding, TokenDecoder


def decode_token_ids(encoding: Encoding | str) -> Callable[[Observable[int | Sequence[int]]], Observable[str]]:
    """Give the text of ids, which come one by one or in batches, never with half a character.

    `encoding` is an encoding, or the name of one or of a model; it is loaded here, not
    when the stream is subscribed to, and that takes up to about a second the first time.
    Raises `ConfigurationError` if it is not on this machine. An id that it has not ends
    the stream with a `ProtocolError`, after the text before it.
    """
    loaded = TokenDecoder(encoding).encoding
    return lift(lambda: TokenDecoder(loaded))
