"""What holds for every stream that was read, good or bad; `test_laws.py` says which laws these are."""

import msgspec

from rxstream.dialects._values import is_shallow
from rxstream.errors import StreamError
from rxstream.messages import AssembledMessage, MessageAssembler
from rxstream.tokens import (
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
    from_json,
    to_json,
    to_msgpack,
)
from tests.dialects.reading import Outcome

OUR_MISTAKES = (
    *(AttributeError, TypeError, LookupError, AssertionError, NameError, RecursionError),
    *(ArithmeticError, UnicodeError, StopIteration, NotImplementedError),
)
"""What no bytes may bring about, not even as the cause of a proper error."""


def hold_together(outcome: Outcome) -> None:
    """Assert the laws of every stream, good or bad."""
    assert_proper(outcome.error)
    assert_writable(outcome)
    assert_in_order(outcome.tokens)
    assert_assembled(outcome)


def assert_proper(error: BaseException | None) -> None:
    assert "what was read could not be understood" not in str(error)  # that is said of a mistake of ours
    while error is not None:
        assert isinstance(error, StreamError) or not isinstance(error, OUR_MISTAKES)
        error = error.__cause__


def assert_writable(outcome: Outcome) -> None:
    for token in outcome.tokens:
        line = to_json(token)
        to_msgpack(token)
        assert to_json(from_json(line)) == line
        for passed_on in (getattr(token, "raw", None), getattr(token, "details", None)):
            assert is_shallow(passed_on)  # or it could not be written by whoever stands deep in calls of its own
    line = msgspec.json.encode(outcome.message)
    assert msgspec.json.encode(msgspec.json.decode(line, type=AssembledMessage)) == line


def assert_in_order(tokens: list[StreamToken]) -> None:
    """Calls begin once and end once, choices end once, nothing comes after its end."""
    begun: set[str] = set()
    over: set[str] = set()
    ended: set[int] = set()
    for token in tokens:
        match token:
            case ToolCallStart(key=key, choice=choice):
                assert key not in begun
                assert choice not in ended
                begun.add(key)
            case ToolCallDelta(key=key):
                assert key in begun - over
            case ToolCall(key=key) | ToolCallTruncated(key=key):
                assert key not in over
                over.add(key)
            case StreamEnd(choice=choice):
                assert choice not in ended
                ended.add(choice)
            case TextDelta(choice=choice) | ReasoningDelta(choice=choice) | RefusalDelta(choice=choice):
                assert choice not in ended
            case _:
                pass
    assert begun <= over


def assert_assembled(outcome: Outcome) -> None:
    """Assert that the message is what the tokens add up to."""
    assembler = MessageAssembler()
    assembler.extend(outcome.tokens)
    again = assembler.message(error=outcome.message.error, finish_reason=outcome.message.finish_reason)
    assert msgspec.json.encode(again) == msgspec.json.encode(outcome.message)
    assert outcome.message.complete == (outcome.error is None or outcome.message.reason is FinishReason.ERROR)
    assert (outcome.message.error is None) == (outcome.error is None)


def assert_same(one: Outcome, other: Outcome, of_what: str = "") -> None:
    """Assert that two readings came to the same."""
    assert written(one.tokens) == written(other.tokens), of_what
    assert one.ending == other.ending, of_what
    assert msgspec.json.encode(one.message) == msgspec.json.encode(other.message), of_what


def written(tokens: list[StreamToken]) -> list[bytes]:
    """Tokens as text: equal also where they hold a NaN."""
    return [to_json(token) for token in tokens]
