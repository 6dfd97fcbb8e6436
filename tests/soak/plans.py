"""What befalls each stream of the soak: drawn at random, the same for the same seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from msgspec import structs

from rxstream.dialects import dialects
from rxstream.simulator import (
    FLOOD,
    WHOLE,
    At,
    Disconnect,
    EarlyEnd,
    ErrorEvent,
    ErrorPage,
    Fault,
    Garbage,
    HttpError,
    KeepAlives,
    NotAStream,
    Script,
    StaleConnection,
    Stall,
    Writes,
    apis,
)

APIS = sorted(set(dialects()) & set(apis()))
WORDS = ("Because ", "of ", "Rayleigh ", "scattering, ", "voilà. ", "日本 ", "🙂 ", '"quoted"\n')
LONG = 2_000
"""Tokens of an answer that is too much for a consumer that is slow."""
PATIENT = ("collected", "iterated", "slowly", "piped", "from_thread")
"""Consumers that stay to the end."""
HASTY = ("left", "cancelled", "disposed", "disposed_by_thread", "taken", "raising")
"""Consumers that don't."""


@dataclass(frozen=True)
class Plan:
    """One stream: what is asked, what the server does, who consumes it, and what must come of it."""

    number: int
    api: str
    script: Script
    consumer: str
    said: str
    """The text of the whole answer."""
    fails: bool
    """Whether it ends in an error, if the consumer stays to the end."""
    is_stalled: bool = False
    """Whether only a deadline ends it."""


def plans(seed: int) -> Iterator[Plan]:
    """Yield plans without end."""
    for number in count():
        yield _plan(number, random.Random(f"{seed}:{number}"))


def warming() -> Iterator[Plan]:
    """Yield plans after which every provider has what it keeps, on both loops."""
    for number, api in enumerate(APIS):
        script = Script(deltas=WORDS, faults=(Stall(at=At(tokens=1)),))
        for consumer in ("iterated", "from_thread"):
            yield Plan(number, api, Script(deltas=WORDS), consumer, "".join(WORDS), fails=False)
            yield Plan(number, api, script, consumer, "".join(WORDS), fails=True, is_stalled=True)


def churn() -> Iterator[Plan]:
    """Yield plans of streams that are opened and, in whatever state, disposed of."""
    silences = (Stall(at=At(head=0)), Stall(at=At()), Stall(at=At(tokens=1)), Stall(at=At(tokens=4, inside="event")))
    for number in count():
        script = Script(deltas=WORDS, faults=(silences[number // len(APIS) % len(silences)],))
        yield Plan(number, APIS[number % len(APIS)], script, "disposed", "".join(WORDS), fails=True, is_stalled=True)


def _plan(number: int, chance: random.Random) -> Plan:
    api = chance.choice(APIS)
    deltas = tuple(chance.choices(WORDS, k=chance.randint(2, 40)))
    script = Script(
        deltas=deltas,
        writes=chance.choice((None, Writes(every=97, seed=number), FLOOD, WHOLE)),
        transfer=chance.choice(("chunked", "chunked", "close")),
    )
    at = At(tokens=chance.randrange(len(deltas)), inside=chance.choice((None, None, "event")))
    consumer = chance.choice(PATIENT if chance.random() < 0.6 else HASTY)
    fault = _fault(number, at, chance) if chance.random() < 0.5 else None
    if fault is not None:
        script = structs.replace(script, faults=(fault,))
    elif consumer in {"left", "disposed", "taken"} and chance.random() < 0.2:
        return Plan(number, api, Script(length=LONG, writes=FLOOD), consumer, "", fails=False)
    return Plan(
        number,
        api,
        script,
        consumer,
        "".join(deltas),
        fails=fault is not None and not _passes(fault),
        is_stalled=isinstance(fault, Stall | KeepAlives),
    )


def _fault(number: int, at: At, chance: random.Random) -> Fault:
    kinds: tuple[Fault, ...] = (
        HttpError(status=chance.choice((400, 401, 429, 500, 503))),
        HttpError(status=503, retry_after=0.01, times=1, message=f"not now, number {number}"),
        HttpError(status=503, retry_after=0.01, times=1, message=f"not now, number {number}"),
        ErrorPage(),
        NotAStream(),
        ErrorEvent(at=at),
        EarlyEnd(at=at),
        Disconnect(at=at, how=chance.choice(("reset", "close", "half_close"))),
        Disconnect(at=At(head=chance.randint(0, 40))),
        Garbage(at=At(tokens=at.tokens)),
        StaleConnection(closes=chance.choice(("after_answer", "on_next_request"))),
        StaleConnection(closes=chance.choice(("after_answer", "on_next_request"))),
    )
    if chance.random() < 0.1:  # few: they take their time
        return chance.choice((Stall(at=at), Stall(at=At(head=0)), KeepAlives(at=At(tokens=at.tokens), every=0.1)))
    return chance.choice(kinds)


def _passes(fault: Fault) -> bool:
    """Whether a patient caller gets the whole answer all the same."""
    return isinstance(fault, StaleConnection) or (isinstance(fault, HttpError) and fault.times is not None)
