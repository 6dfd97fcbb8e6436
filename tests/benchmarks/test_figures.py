"""How figures are compared; what they are is nobody's to test."""

from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks import first_token, paced
from tests.benchmarks.contenders import APIS
from tests.benchmarks.figures import Table, Target, judge
from tests.benchmarks.held import HOLDERS
from tests.benchmarks.imports import IMPORTS
from tests.benchmarks.loopback import FIRST_TOKEN, HELD, IMPORTING, ON_UVLOOP, PEAKS, TITLES, paced_title
from tests.benchmarks.targets import TARGETS

FIGURES = st.floats(0.01, 1_000)


def table(**rounds: list[float]) -> Table:
    return Table("speed", "microseconds", "other", rounds)


@given(st.lists(st.tuples(FIGURES, FIGURES, st.sampled_from([0.25, 1.0, 4.0])), min_size=1))
def test_a_machine_that_slows_down_changes_no_ratio(rounds: list[tuple[float, float, float]]) -> None:
    steady = table(one=[one for one, _, _ in rounds], other=[other for _, other, _ in rounds])
    drifting = table(one=[one * by for one, _, by in rounds], other=[other * by for _, other, by in rounds])

    assert drifting.ratio("one", "other") == steady.ratio("one", "other")


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    figures = table(one=[1.0, 10.0, 9.0], other=[2.0, 20.0, 10.0])

    assert figures.ratio("one", "other") == 0.5
    assert figures.difference("one", "other") == -1.0


def test_who_was_left_out_is_compared_with_nobody() -> None:
    figures = table(one=[1.0])

    assert figures.ratio("one", "other") is None
    assert figures.difference("other", "one") is None
    assert figures.lines()[1].split() == ["one", "1.00", "(1.00", "to", "1.00)"]


def test_a_target_is_met_up_to_its_bound() -> None:
    figures = table(one=[3.0, 3.0], other=[2.0, 2.0])

    def met(reference: str | None, at_most: float, *, is_difference: bool = False) -> bool:
        target = Target("quick", "speed", "one", reference, at_most, is_difference)
        return judge([target], [figures])[0].is_met

    assert met("other", 1.5)
    assert not met("other", 1.4)
    assert met("other", 1.0, is_difference=True)
    assert not met("other", 0.9, is_difference=True)
    assert met(None, 3.0)
    assert not met(None, 2.9)


def test_what_was_not_measured_is_not_met() -> None:
    targets = [Target("quick", title, name, None, 1) for title, name in [("speed", "none"), ("none", "one")]]

    verdicts = judge(targets, [table(one=[0.0])])

    assert [(verdict.measured, verdict.is_met) for verdict in verdicts] == [(None, False)] * 2
    assert all("not measured" in verdict.line() for verdict in verdicts)


def test_each_target_is_of_a_table_and_of_contenders_that_there_are() -> None:
    known = {title: set(APIS[api]) for (_, api), title in TITLES.items()}
    known |= {paced_title(streams, figure): set(paced.READERS) for streams in paced.COUNTS for figure in paced.UNITS}
    known |= {title: set(first_token.READERS) for title in FIRST_TOKEN.values()}
    known |= {title: set(HOLDERS) for title in HELD.values()}
    known |= {PEAKS: set(APIS["chat"]), IMPORTING: set(IMPORTS)}

    for target in TARGETS:
        named = {target.name, target.reference} - {None}
        assert {str(name).removesuffix(ON_UVLOOP) for name in named} <= known[target.title], target.text
