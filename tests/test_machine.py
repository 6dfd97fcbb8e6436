"""Machines, alone and chained: what was good before an error is never lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.machine import Breakable, Machine, carrying, chain, completed_by, finish_broken

BROKEN = OSError("the line broke")


class Lines:
    """Characters to lines; holds the unfinished line back. `!` breaks it."""

    def __init__(self) -> None:
        self.held = ""

    def feed(self, item: str, /) -> list[str]:
        good, noise, _ = (self.held + item).partition("!")
        *lines, self.held = good.split("\n")
        if noise:
            raise carrying(ValueError("noise"), lines)
        return lines

    def flush(self) -> list[str]:
        return [self.held] if self.held else []


class Shouts:
    """Lines in capitals, each after a count; says goodbye at the end. `?` breaks it."""

    def __init__(self) -> None:
        self.count = 0

    def feed(self, item: str, /) -> list[str]:
        self.count += 1
        if "?" in item:
            raise carrying(KeyError("question"), [str(self.count)])
        return [str(self.count), item.upper()]

    def flush(self) -> list[str]:
        return ["bye"]


class Mourns(Shouts):
    """The same, but ends otherwise when its input broke."""

    def fail(self, error: Exception, /) -> list[str]:
        return [f"alas, {error}"]


class Renames(Shouts):
    """The same, but has its own name for what broke."""

    def fail(self, error: Exception, /) -> list[str]:
        raise carrying(RuntimeError("renamed"), ["last words"]) from error


def run(machine: Machine[str, str], items: list[str], broken: Exception | None = None) -> tuple[list[str], str | None]:
    """What comes out until the end or the error, and the name of the error."""
    made: list[str] = []
    try:
        for item in items:
            made += machine.feed(item)
        made += machine.flush() if broken is None else finish_broken(machine, broken)
    except Exception as error:
        return made + completed_by(error), type(error).__name__
    return made, None if broken is None else type(broken).__name__


items = st.lists(st.text(st.sampled_from("ab\n"), max_size=6), max_size=6)
noisy_items = st.lists(st.text(st.sampled_from("ab\n!?"), max_size=6), max_size=6)


@given(items)
def test_a_chain_makes_what_its_machines_make_one_after_the_other(pieces: list[str]) -> None:
    by_hand, _ = run(Lines(), pieces)

    assert run(chain(Lines(), Shouts()), pieces) == run(Shouts(), by_hand)


@given(noisy_items)
def test_how_machines_are_grouped_does_not_matter(pieces: list[str]) -> None:
    left = run(chain(chain(Lines(), Shouts()), Shouts()), pieces)
    right = run(chain(Lines(), chain(Shouts(), Shouts())), pieces)

    assert left == right


@given(noisy_items, st.booleans())
def test_what_came_before_an_error_is_never_lost(pieces: list[str], is_broken: bool) -> None:
    whole = "".join(pieces)
    good = whole[: min(whole.find(mark) for mark in "!?" if mark in whole)] if {"!", "?"} & set(whole) else whole

    made, _ = run(chain(Lines(), Shouts()), pieces, BROKEN if is_broken else None)

    lines = good.split("\n")[:-1]
    expected = [part for number, line in enumerate(lines, 1) for part in (str(number), line.upper())]
    assert made[: len(expected)] == expected


def test_an_error_of_the_first_machine_carries_what_the_second_made_of_the_rest() -> None:
    made, error = run(chain(Lines(), Shouts()), ["a\n", "b\n!"])

    assert (made, error) == (["1", "A", "2", "B", "bye"], "ValueError")


def test_an_error_of_the_second_machine_carries_what_came_before_in_the_same_step() -> None:
    made, error = run(chain(Lines(), Shouts()), ["a\n?\nb\n"])

    assert (made, error) == (["1", "A", "2"], "KeyError")


def test_an_error_while_flushing_carries_what_the_flush_made_before() -> None:
    made, error = run(chain(Lines(), Shouts()), ["a\n?"])

    assert (made, error) == (["1", "A", "2"], "KeyError")


def test_a_machine_without_fail_is_flushed_when_its_input_breaks() -> None:
    assert not isinstance(Shouts(), Breakable)
    assert finish_broken(Shouts(), BROKEN) == ["bye"]


def test_a_machine_with_fail_is_told_when_its_input_breaks() -> None:
    assert isinstance(Mourns(), Breakable)
    assert finish_broken(Mourns(), BROKEN) == ["alas, the line broke"]


def test_both_machines_of_a_chain_are_told_when_their_input_breaks() -> None:
    made, error = run(chain(Lines(), Mourns()), ["a\nb"], BROKEN)

    assert (made, error) == (["1", "A", "2", "B", "alas, the line broke"], "OSError")


def test_the_second_machine_is_told_what_broke_the_first() -> None:
    made, error = run(chain(Lines(), Mourns()), ["a\n!"])

    assert (made, error) == (["1", "A", "alas, noise"], "ValueError")


def test_a_machine_may_end_with_its_own_error() -> None:
    made, error = run(chain(Lines(), Renames()), ["a\nb"], BROKEN)

    assert (made, error) == (["1", "A", "2", "B", "last words"], "RuntimeError")


def test_a_machine_may_rename_the_error_of_the_one_before_it() -> None:
    with pytest.raises(RuntimeError, match="renamed") as raised:
        chain(Lines(), Renames()).feed("a\n!")

    assert completed_by(raised.value) == ["1", "A", "last words"]
    assert isinstance(raised.value.__cause__, ValueError)


def test_the_cause_of_an_error_stays_chained_through_a_chain() -> None:
    class Wraps(Lines):
        def feed(self, item: str, /) -> list[str]:
            raise ValueError("wrapped") from BROKEN

    with pytest.raises(ValueError, match="wrapped") as raised:
        chain(Wraps(), Shouts()).feed("a")

    assert raised.value.__cause__ is BROKEN


def test_an_error_that_carries_nothing_completed_nothing() -> None:
    assert completed_by(ValueError("plain")) == []
