"""The fault matrix of the transport: all wires, all faults, all moments, and the one right outcome of each.

The outcome follows by `outcome`: it is the only place that says what is right, and knows no
more than what HTTP lets a client hear of the fault, its moment, and whether the service has
an end mark.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from rxstream.errors import (
    FirstContentTimeoutError,
    FramingError,
    IdleTimeoutError,
    ProtocolError,
    StreamError,
    TransportError,
    TruncatedStreamError,
)
from tests.faults.transport_faults import FAULTS, Fault, Heard
from tests.faults.wires import AFTER_ALL, AFTER_CONTENT, Moment, Wire, wires

EVERYTHING = os.environ.get("RXSTREAM_FAULTS") == "all"
"""Whether every case is run under every condition; otherwise each is run under one, in turns."""


@dataclass(frozen=True)
class Condition:
    """How the same fault is met."""

    is_pushed: bool
    """Whether what arrives may go the short way, straight into the operators."""
    in_one_go: bool
    """Whether the server sends all that it can in one go; otherwise each event is read before the next."""
    is_pooled: bool
    """Whether the connection has served another request."""


CONDITIONS = [Condition(*each) for each in product((True, False), repeat=3)]


@dataclass(frozen=True)
class Case:
    """One field of the matrix."""

    wire: Wire
    fault: Fault
    moment: Moment
    condition: Condition

    def __str__(self) -> str:
        how = "pushed" if self.condition.is_pushed else "read"
        at_once = "in one go" if self.condition.in_one_go else "event by event"
        again = ", pooled" if self.condition.is_pooled else ""
        return f"{self.wire.name}: {self.fault.name} {self.moment} ({how}, {at_once}{again})"


@dataclass(frozen=True)
class Outcome:
    """What a subscriber is to see."""

    error: type[StreamError] | None
    requests: int = 1
    """How many the server gets for it."""


def outcome(case: Case) -> Outcome:
    """Return the one right outcome of `case`."""
    fault, moment, wire = case.fault, case.moment, case.wire
    if case.condition.is_pooled and moment is Moment.BEFORE_HEADERS and fault.name in {"reset", "close", "half close"}:
        return Outcome(None, 2)  # the connection had gone stale: that is no failure
    if moment in AFTER_ALL and wire.has_end_mark:
        return Outcome(None)  # the service has said all: nothing that comes later matters
    return Outcome(_error_of(wire, fault, moment), fault.requests)


def _error_of(wire: Wire, fault: Fault, moment: Moment) -> type[StreamError] | None:
    match fault.heard:
        case Heard.WHOLE:
            return None
        case Heard.ONE_VALUE:
            return ProtocolError if wire.body.startswith(b"{") else None  # a line of JSON can't be told from a value
        case Heard.EARLY_END:
            return None if moment in AFTER_ALL else TruncatedStreamError
        case Heard.BREAK:
            return TransportError
        case Heard.SLOWNESS if moment in AFTER_ALL:
            return None
        case Heard.SILENCE | Heard.SLOWNESS:
            return IdleTimeoutError if moment in AFTER_CONTENT else FirstContentTimeoutError
        case Heard.NOISE:
            return FramingError
        case Heard.NONSENSE:
            return fault.says or ProtocolError


def matrix() -> Iterator[Case]:
    """Give every case under every condition."""
    for wire, fault in product(wires().values(), FAULTS):
        for moment, condition in product(fault.moments, CONDITIONS):
            yield Case(wire, fault, moment, condition)


def portion() -> list[Case]:
    """Return what is run unless everything is asked for: each fault of each wire at each moment, under one condition.

    The conditions take turns, and begin elsewhere for each fault and wire, so that each fault
    and each moment meets every one of them.
    """
    chosen: list[Case] = []
    for (place, wire), (row, fault) in product(enumerate(wires().values()), enumerate(FAULTS)):
        for column, moment in enumerate(fault.moments):
            chosen.append(Case(wire, fault, moment, CONDITIONS[(place + row + column) % len(CONDITIONS)]))
    return chosen


def one_of_each() -> list[Case]:
    """Return one case for each fault and moment, of the wires in turns."""
    names = list(wires())

    def turn(case: Case) -> str:
        return names[(FAULTS.index(case.fault) + case.fault.moments.index(case.moment)) % len(names)]

    return [case for case in portion() if case.wire.name == turn(case)]


def cases() -> list[Case]:
    """Return what is to be run."""
    return list(matrix()) if EVERYTHING else portion()


def summary() -> str:
    """Return how large the matrix is, in a line."""
    moments = {moment for fault in FAULTS for moment in fault.moments}
    in_all = sum(len(fault.moments) for fault in FAULTS) * len(wires()) * len(CONDITIONS)
    return (
        f"faults of the transport: {len(wires())} wires, {len(FAULTS)} faults, {len(moments)} moments,"
        f" {len(CONDITIONS)} conditions; {len(cases()):,} of the {in_all:,} cases that there are"
    )
