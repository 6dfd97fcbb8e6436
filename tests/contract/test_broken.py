"""Each law catches what it is for, and nothing else: shown on what is broken in one way each."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract import (
    broken_sinks,
    broken_sources,
    broken_stages,
    lawbook,
    sink_laws,
    source_laws,
    stage_laws,
)
from tests.contract.broken_sinks import Taking, sink_of
from tests.contract.broken_sources import Reading, source_of
from tests.contract.broken_stages import Passing, Queueing, stage_of
from tests.contract.lawbook import Law
from tests.contract.sink_laws import SINK_LAWS
from tests.contract.source_laws import SOURCE_LAWS
from tests.contract.stage_laws import STAGE_LAWS
from tests.contract.subjects import Sink, Source, Stage


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for laws in (stage_laws, sink_laws, source_laws):
        monkeypatch.setattr(laws, "FLOOD", 2_000)
    monkeypatch.setattr(lawbook, "PATIENCE", 2.0)


@pytest.mark.parametrize("kind", [Passing, Queueing])
@pytest.mark.parametrize("law", STAGE_LAWS.laws, ids=lambda law: law.__name__)
def test_an_operator_that_is_not_broken_keeps_every_law(law: Law[Stage], kind: type[Passing]) -> None:
    law(stage_of(kind))


@pytest.mark.parametrize("law", SOURCE_LAWS.laws, ids=lambda law: law.__name__)
def test_a_source_that_is_not_broken_keeps_every_law(law: Law[Source]) -> None:
    law(source_of(Reading))


@pytest.mark.parametrize("law", SINK_LAWS.laws, ids=lambda law: law.__name__)
def test_a_sink_that_is_not_broken_keeps_every_law(law: Law[Sink]) -> None:
    law(sink_of(Taking))


@pytest.mark.parametrize("broken", broken_stages.BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_operator_is_caught_by_the_law_that_names_the_fault(broken: Callable[..., Any]) -> None:
    assert STAGE_LAWS.broken_by(stage_of(broken)) == [law.__name__ for law in broken_stages.BROKEN[broken]]


@pytest.mark.parametrize("broken", broken_sources.BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_source_is_caught_by_the_law_that_names_the_fault(
    broken: type[Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lawbook, "PATIENCE", 0)  # turns of the loop are all that it needs

    assert SOURCE_LAWS.broken_by(source_of(broken)) == [law.__name__ for law in broken_sources.BROKEN[broken]]


@pytest.mark.parametrize("broken", broken_sinks.BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_sink_is_caught_by_the_law_that_names_the_fault(broken: type[Taking]) -> None:
    assert SINK_LAWS.broken_by(sink_of(broken)) == [law.__name__ for law in broken_sinks.BROKEN[broken]]


def test_every_law_catches_something() -> None:
    for book, broken in (
        (STAGE_LAWS, broken_stages.BROKEN),
        (SOURCE_LAWS, broken_sources.BROKEN),
        (SINK_LAWS, broken_sinks.BROKEN),
    ):
        assert {law for caught_by in broken.values() for law in caught_by} == {*book.laws}
