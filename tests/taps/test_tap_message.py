"""What a stream added up to, told however it ended."""

import reactivex
from hypothesis import given
from reactivex.subject import Subject

from rxstream.errors import TransportError
from rxstream.messages import AssembledMessage, ErrorInfo, MessageAssembler
from rxstream.taps import Outcome, tap_message
from rxstream.tokens import StreamToken, TextDelta
from tests.strategies import token_lists


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.endings: list[tuple[AssembledMessage, Outcome]] = []

    def __call__(self, message: AssembledMessage, outcome: Outcome) -> None:
        self.endings.append((message, outcome))


@given(token_lists)
def test_a_tap_changes_nothing_and_tells_what_the_tokens_add_up_to(tokens: list[StreamToken]) -> None:
    told, passed = Told(), list[StreamToken]()
    assembler = MessageAssembler()
    assembler.extend(tokens)

    reactivex.from_iterable(tokens).pipe(tap_message(told)).subscribe(passed.append)

    assert passed == tokens
    assert told.endings == [(assembler.message(), Outcome.COMPLETED)]


def test_a_failure_is_told_with_its_error_before_the_subscriber_hears_of_it() -> None:
    told, seen, error = Told(), list[int](), TransportError("the body of the answer broke off")
    source = reactivex.concat(reactivex.of(TextDelta("Hi")), reactivex.throw(error))

    source.pipe(tap_message(told)).subscribe(on_error=lambda _: seen.append(len(told.endings)))

    [(message, outcome)] = told.endings
    assert (message.text, message.error, outcome) == ("Hi", error.info, Outcome.FAILED)
    assert seen == [1]


def test_the_words_of_a_foreign_error_are_not_told() -> None:
    told = Told()

    reactivex.throw(KeyError("a secret")).pipe(tap_message(told)).subscribe(on_error=lambda _: None)

    assert told.endings[0][0].error == ErrorInfo("KeyError", None, "")


def test_who_lets_go_is_told_what_had_come() -> None:
    told, source = Told(), Subject[StreamToken]()

    subscription = source.pipe(tap_message(told)).subscribe()
    source.on_next(TextDelta("Hello"))
    subscription.dispose()
    subscription.dispose()

    [(message, outcome)] = told.endings
    assert (message.text, outcome) == ("Hello", Outcome.CANCELLED)
    assert (message.used.output_tokens, message.used.source) == (2, "estimated")


def test_each_subscription_is_told_by_itself() -> None:
    told, source = Told(), reactivex.of(TextDelta("Hi"))
    tapped = source.pipe(tap_message(told))

    tapped.subscribe()
    tapped.subscribe()

    assert [message.text for message, _ in told.endings] == ["Hi", "Hi"]
