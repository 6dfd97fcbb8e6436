"""What each service says in the fault matrix: one short answer, cut wherever something may go wrong."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from rxstream.dialects import dialect
from rxstream.simulator import Script, Turn, apis
from rxstream.simulator.api import api_named
from rxstream.simulator.reply import content
from rxstream.simulator.steps import Write
from rxstream.tokens import StreamToken

SAID = ("Because ", "é is a character of two bytes, ", "and so on, for some more words. ", "That is all.")
"""The pieces of the answer; the second has a character to be cut."""
CUT_CHARACTER, CUT_EVENT = 1, 2
"""Which pieces are cut inside a character, and anywhere."""
FAMILIES = ("anthropic.some-model", "amazon.nova-model", "amazon.titan-model", "meta.llama-model")
"""Models of InvokeModel: each maker has framing within the framing, and an end mark of its own."""
MARKLESS = frozenset({"gemini.generate"})
"""What says no end mark: there the end of the body is the end of the answer."""


class Moment(StrEnum):
    """When something goes wrong."""

    BEFORE_HEADERS = "before the headers"
    AFTER_HINT = "after a 1xx"
    IN_HEADERS = "in the headers"
    BEFORE_FIRST_EVENT = "before the first event"
    INSIDE_FIRST_EVENT = "inside the first event"
    BETWEEN_EVENTS = "between events"
    INSIDE_CHARACTER = "inside a character"
    INSIDE_EVENT = "inside an event"
    AFTER_END_MARK = "after the end mark"
    IN_TRAILER = "in the trailer"


MOMENTS = tuple(Moment)
IN_HEAD = MOMENTS[:3]
IN_BODY = MOMENTS[3:9]
AFTER_CONTENT = MOMENTS[5:]
"""When the first content has come."""
AFTER_ALL = MOMENTS[8:]
"""When every event has come."""


@dataclass(frozen=True)
class Wire:
    """One service's way of saying it."""

    name: str
    api: str
    model: str
    events: tuple[bytes, ...]
    of_tokens: tuple[int, ...]
    """Which events hold the pieces of text, one each."""

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.events)

    @property
    def content_type(self) -> str:
        """What the service calls it."""
        return api_named(self.api).content_type

    @property
    def ping(self) -> bytes:
        """What the service sends to keep a connection alive."""
        return api_named(self.api).ping

    @property
    def has_end_mark(self) -> bool:
        """Whether the service says by itself that it is over."""
        return self.api not in MARKLESS

    def cut(self, moment: Moment) -> tuple[list[bytes], list[bytes]]:
        """Return what of the body comes before `moment`, and what after it, event by event."""
        number, place = self._place(moment)
        if place == 0:
            return list(self.events[:number]), list(self.events[number:])
        event = self.events[number]
        return [*self.events[:number], event[:place]], [event[place:], *self.events[number + 1 :]]

    def _place(self, moment: Moment) -> tuple[int, int]:
        """How many events come before `moment`, and how many bytes of the next."""
        match moment:
            case Moment.INSIDE_FIRST_EVENT:
                return 0, len(self.events[0]) // 2
            case Moment.BETWEEN_EVENTS:
                return self.of_tokens[0] + 1, 0
            case Moment.INSIDE_CHARACTER:
                number = self.of_tokens[CUT_CHARACTER]
                event = self.events[number]  # base64 has no such place; the middle is as good there
                return number, event.index("é".encode()) + 1 if "é".encode() in event else len(event) // 2
            case Moment.INSIDE_EVENT:
                number = self.of_tokens[CUT_EVENT]
                return number, len(self.events[number]) // 2
            case Moment.AFTER_END_MARK | Moment.IN_TRAILER:
                return len(self.events), 0
            case _:
                return 0, 0

    def tokens(self, body: bytes | None = None) -> list[StreamToken]:
        """Return the tokens of that much of the body, or of all of it, as the machines read it in memory."""
        reader = dialect(self.api).read_body()
        made = reader.feed(self.body if body is None else body)
        return made + reader.flush() if body is None else made


@cache
def wires() -> dict[str, Wire]:
    """Return every wire by name: one for each API, and for InvokeModel one for each maker of models."""
    found: dict[str, Wire] = {}
    for api in apis():
        for model in FAMILIES if api == "bedrock.invoke" else ("some-model",):
            name = f"{api} {model.rpartition('-')[0]}" if api == "bedrock.invoke" else api
            steps = content(api_named(api), Script(deltas=SAID), Turn(model=model)).steps
            writes = [step for step in steps if isinstance(step, Write)]
            of_tokens = tuple(place for place, write in enumerate(writes) if write.tokens)
            found[name] = Wire(name, api, model, tuple(write.data for write in writes), of_tokens)
    return found
