"""Recordings and errors, for tests of what writes and reads them."""

from hypothesis import strategies as st

from rxstream import errors as tree
from rxstream.errors import FramingError, StreamError
from rxstream.messages import AssembledMessage, MessageAssembler
from rxstream.tokens import StreamToken
from tests.strategies import token_lists

KINDS = [kind for kind in vars(tree).values() if isinstance(kind, type) and issubclass(kind, StreamError)]
"""Every class of the tree."""


def assembled(tokens: list[StreamToken]) -> AssembledMessage:
    """What tokens add up to."""
    assembler = MessageAssembler()
    assembler.extend(tokens)
    return assembler.message()


@st.composite
def error_of(draw: st.DrawFn) -> StreamError:
    """Draw an error of any class, with any facts."""
    words = st.none() | st.text(max_size=8)
    error = draw(st.sampled_from(KINDS))(
        draw(st.text(max_size=20)),
        provider=draw(words),
        status=draw(st.none() | st.integers(100, 599)),
        kind=draw(words),
        code=draw(words | st.integers(0, 10**20)),
        request_id=draw(words),
        retry_after=draw(st.none() | st.floats(0, 1e6)),
        is_retryable=draw(st.booleans()),
        partial=draw(st.none() | token_lists.map(assembled)),
    )
    error.resume_after = draw(st.none() | st.integers(0, 1000))
    if isinstance(error, FramingError):
        error.limit = draw(st.sampled_from([None, "line", "event"]))
    return error


errors = error_of()
"""Any error that a stream may end in."""
