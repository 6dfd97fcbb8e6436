"""What may be made a stage, how the kinds are told apart, and what is said where they cannot be."""

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias, cast

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops

from rxstream.operators import ContentFilter, buffered, frames, map_async, text, tool_calls
from rxstream.pipeline.stage import stage_of
from rxstream.rx import lift
from rxstream.tokens import StreamToken, TextDelta

ONE, TWO = TextDelta("one"), TextDelta("two")


class Twice:
    """A machine that gives each token again at the next, and the last at the end."""

    def __init__(self) -> None:
        self._held: list[StreamToken] = []

    def feed(self, token: StreamToken, /) -> list[StreamToken]:
        made, self._held = [*self._held, token], [token]
        return made

    def flush(self) -> list[StreamToken]:
        return self._held


class Named(Twice):
    """One that needs to be told something."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word


def annotated(source: Observable[StreamToken]) -> Observable[StreamToken]:
    return source.pipe(ops.take(1))


Heard: TypeAlias = StreamToken


def with_an_alias_in_text(token: "Heard") -> "Heard":
    return token


def with_words_nobody_knows(token: "nowhere.TextDelta") -> StreamToken:  # type: ignore[name-defined]  # noqa: F821  # so it is
    return cast(StreamToken, token)


def annotated_with_text(source: "Observable[StreamToken]") -> "Observable[StreamToken]":
    return source.pipe(ops.take(1))


def louder(token: StreamToken) -> StreamToken:
    return TextDelta(token.text.upper()) if isinstance(token, TextDelta) else token


def through(transformer: Any, *tokens: StreamToken) -> list[StreamToken]:
    """What a subscription to a stage gives."""
    heard: list[StreamToken] = []
    stage_of(transformer).apply(reactivex.from_iterable(tokens or (ONE, TWO))).subscribe(heard.append)
    return heard


@pytest.mark.parametrize(
    "make",
    [Twice, lambda: Twice(), functools.partial(Named, "word"), lambda word="word": Named(word)],  # noqa: PLW0108  # a class and a function are two cases
    ids=["class", "function", "partial", "function with a default"],
)
def test_what_makes_a_machine_makes_one_for_each_subscription(make: Any) -> None:
    stage = stage_of(make)
    source = stage.apply(reactivex.of(ONE, TWO))

    for _ in range(2):
        heard: list[StreamToken] = []
        source.subscribe(heard.append)

        assert heard == [ONE, ONE, TWO, TWO]


OPERATORS: list[Callable[[Any], Any]] = [
    annotated,
    annotated_with_text,
    ops.take(1),
    reactivex.compose(ops.map(louder), ops.take(1)),
    lift(Twice),
    buffered(),
    lambda source: source.pipe(ops.take(1)),
    lambda source: annotated(source),  # noqa: PLW0108  # it does not touch its argument itself
    lambda source: Observable(source.subscribe),
]


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_is_taken_as_it_is(operator: Any) -> None:
    stage = stage_of(operator)

    assert stage.apply is operator


def test_what_uses_an_observable_is_an_operator_even_if_it_fails() -> None:
    def broken(source: Any) -> Any:
        source.pipe(ops.take(1))
        raise LookupError

    assert stage_of(broken).apply is broken


def nothing(_token: StreamToken) -> None:
    return None


def first(*tokens: StreamToken) -> StreamToken:
    return tokens[0]


FUNCTIONS: list[tuple[Callable[[Any], Any], list[StreamToken]]] = [
    (louder, [TextDelta("ONE"), TextDelta("TWO")]),
    (lambda token: TextDelta(token.text[:1]), [TextDelta("o"), TextDelta("t")]),
    (lambda token: token, [ONE, TWO]),
    (lambda token: [token, token], [ONE, ONE, TWO, TWO]),
    (lambda token: [] if token == ONE else [token], [TWO]),
    (lambda token: token if isinstance(token, TextDelta) else None, [ONE, TWO]),
    (lambda token: None, []),
    (first, [ONE, TWO]),
    (nothing, []),
    (with_an_alias_in_text, [ONE, TWO]),
    (with_words_nobody_knows, [ONE, TWO]),
    ({ONE: TWO, TWO: ONE}.get, [TWO, ONE]),
]


@pytest.mark.parametrize(("function", "given"), FUNCTIONS)
def test_a_function_gives_a_token_several_or_none(function: Any, given: list[StreamToken]) -> None:
    assert through(function) == given


def test_a_function_that_says_what_it_takes_is_not_called_before_the_first_token() -> None:
    seen: list[StreamToken] = []

    def look(token: StreamToken) -> StreamToken:
        seen.append(token)
        return token

    stage = stage_of(look)

    assert seen == []
    stage.apply(reactivex.of(ONE)).subscribe()
    assert seen == [ONE]


def test_what_a_function_raises_ends_the_stream() -> None:
    errors: list[Exception] = []

    def broken(_: StreamToken) -> None:
        raise LookupError

    stage_of(broken).apply(reactivex.of(ONE)).subscribe(on_error=errors.append)

    assert isinstance(errors[0], LookupError)


class Thing:
    """No machine."""


async def awaited(token: StreamToken) -> StreamToken:
    return token


def pair(first: StreamToken, second: StreamToken) -> list[StreamToken]:
    return [first, second]


def waits(period: timedelta) -> Callable[[Observable[Any]], Observable[Any]]:
    return frames(period)


@pytest.mark.parametrize(
    ("transformer", "said"),
    [
        (Twice(), "shared by all subscriptions: give what makes one, such as lambda: Twice"),
        (reactivex.empty(), "an Observable is a source"),
        (Named, "it needs word: give lambda: Named(word)"),
        (Thing, "no machine"),
        (lambda: 3, "no machine"),
        (lambda: ContentFilter([""]), "to make one raised ValueError"),
        (tool_calls, "it makes an operator, and is none: give tool_calls()"),
        (text, "give text()"),
        (frames, "timedelta, which is neither an Observable nor a token"),
        (waits, "timedelta, which is neither an Observable nor a token"),
        (awaited, "give map_async(awaited)"),
        (pair, "it takes 2 arguments"),
        (3, "a value of int is no machine class, operator or function"),
        (None, "a value of NoneType is no machine class"),
        (min, "does not say what arguments it takes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_a_stage_is_refused_with_what_to_do(transformer: Any, said: str) -> None:
    with pytest.raises(TypeError) as caught:
        stage_of(transformer)

    assert said in str(caught.value)


NAMES: list[tuple[Callable[..., Any], str]] = [
    (Twice, "Twice"),
    (functools.partial(Named, "word"), "Named"),
    (lift(Twice), "Twice"),
    (louder, "louder"),
    (ops.map(louder), "map"),
    (buffered(), "buffered"),
    (frames(timedelta(1)), "frames"),
    (map_async(awaited), "map_async"),
    (text(), "text"),
    (lambda: Named("word"), "lambda"),
]


@pytest.mark.parametrize(("transformer", "name"), NAMES)
def test_a_stage_is_called_what_a_person_wrote(transformer: Any, name: str) -> None:
    assert str(stage_of(transformer)) == name
    assert str(stage_of(transformer, "mine")) == "mine"
