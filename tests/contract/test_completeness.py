"""Nothing public escapes the contract: what is new is under test, or fails here until it is."""

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any

import pytest

import rxstream
from tests.contract.subjects import EXEMPT, SINKS, SOURCES, STAGES

ROOMS = ["operators", "taps", "sources", "sinks", "pipeline"]
"""Where streams are begun, shaped, looked at and ended; a room need not have been built yet."""
BUILT = [room for room in ROOMS if room in {module.name for module in pkgutil.iter_modules(rxstream.__path__)}]
TABLES: dict[str, Iterable[tuple[Any, str]]] = {
    "operators": STAGES,
    "taps": STAGES,
    "sources": SOURCES,
    "sinks": SINKS,
    "pipeline": STAGES,
}


def public(room: str) -> dict[str, Any]:
    """Everything that can be called which a room shows to others."""
    module = importlib.import_module(f"rxstream.{room}")
    things = {name: getattr(module, name) for name in module.__all__}
    return {name: thing for name, thing in things.items() if callable(thing)}


@pytest.mark.parametrize("room", BUILT)
def test_everything_public_is_held_to_the_contract_or_exempt(room: str) -> None:
    under_test = [make for make, _ in TABLES[room]]

    missing = [name for name, thing in public(room).items() if thing not in under_test and thing not in EXEMPT]

    assert not missing, "each needs a line in tests/contract/subjects.py"


def test_an_exemption_has_a_reason_and_is_needed() -> None:
    everything = [thing for room in BUILT for thing in public(room).values()]
    under_test = [make for table in TABLES.values() for make, _ in table]

    assert all(reason for reason in EXEMPT.values())
    assert [thing for thing in EXEMPT if thing not in everything or thing in under_test] == []
