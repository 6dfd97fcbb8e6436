"""What the simulated model says and how it arrives, as one value."""

from typing import Literal, TypeAlias

from msgspec import Struct

from rxstream.messages import Usage
from rxstream.simulator.faults import Fault
from rxstream.simulator.steps import Speed, Writes
from rxstream.tokens import FinishReason, Json

Transfer: TypeAlias = Literal["chunked", "close"]


class ScriptedCall(Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call that the simulated model makes."""

    name: str
    arguments: str | dict[str, Json] = {}
    """A value, or the exact text, which need not be JSON."""
    id: str | None = None
    """`None` makes one up as the service would."""


class Script(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One answer. `Script()` says a few sentences about what the user asked.

    As JSON (in the header `x-rxstream-simulate`) it has the same names:
    `{"text": "Hello", "faults": [{"type": "Stall", "at": {"tokens": 1}}]}`.
    """

    text: str | None = None
    """What to say; said whole, whatever limits the request sets. `None`: the built-in answer, or nothing where
    there are `deltas`, `tool_calls` or a `refusal`."""
    deltas: tuple[str, ...] | None = None
    """The same, cut exactly so; may cut surrogate pairs, as some servers do."""
    length: int | None = None
    """How many tokens the built-in answer has, whatever limits the request sets; `None`: some eighty, and less
    where the request says so by `max_tokens` or stop sequences."""
    reasoning: str | None = None
    """What to think first; `None`: built-in thoughts where the request asks for thinking, otherwise none."""
    think: bool = False
    """Think the built-in thoughts without being asked."""
    reasoning_field: Literal["reasoning_content", "reasoning", "hidden"] = "reasoning_content"
    """Where an OpenAI-compatible server puts reasoning; OpenAI itself keeps it hidden, and only counts it."""
    signature: str | None = None
    """What proves the reasoning, where the API has that; `None` makes one up."""
    redacted: str | None = None
    """Reasoning that is only given encrypted, where the API has that."""
    refusal: str | None = None
    tool_calls: tuple[ScriptedCall, ...] = ()
    call_tools: bool = False
    """Call each tool that the request offers, unless it already brings results; then tell them."""
    interleaved: bool = False
    """Send the arguments of parallel calls in turns, as some servers do."""
    finish: FinishReason | None = None
    """Why the answer ends; `None`: for the natural reason."""
    raw_finish: str | None = None
    """The service's own word for it, if it is to be an unusual one."""
    stop_sequence: str | None = None
    """The stop sequence that the answer met."""
    choices: int | None = None
    """How many answers; `None`: as many as the request asks for. Anthropic always gives one."""
    usage: Usage | None = None
    """What to report; `None` counts."""
    speed: Speed | None = None
    """`None`: as fast as the run has it."""
    writes: Writes | None = None
    """`None`: cut as the run has it."""
    transfer: Transfer = "chunked"
    """How HTTP shows where the body ends; `close` leaves it to the end of the connection."""
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        given = [name for name in ("text", "deltas", "length") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} say what to say: give one of them")
        if self.length is not None and (self.tool_calls or self.refusal is not None):
            raise ValueError("`length` is of the built-in answer, which is not given with tool calls or a refusal")
        if min(self.length or 0, self.choices or 1) < 0 or self.choices == 0:
            raise ValueError("an answer has a length of at least 0 and at least 1 choice")


SMALL_TALK = Script()
"""The built-in answer."""
