"""A local provider that speaks the services' own words, with faults on demand: the embedded default.

    async with Simulator() as simulator:
        AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"))

A `Script` says what is answered and how it arrives. An API file turns it into the
events of its service; faults change them; HTTP is put around them. All of that
is values (`chunks` and `body` give them without a server). Only `server` does I/O.
"""

from rxstream.simulator.api import Api, apis
from rxstream.simulator.faults import (
    At,
    Disconnect,
    EarlyEnd,
    ErrorEvent,
    ErrorPage,
    Fault,
    Garbage,
    HttpError,
    KeepAlives,
    NoEndMark,
    NotAStream,
    StaleConnection,
    Stall,
)
from rxstream.simulator.models import MODELS
from rxstream.simulator.reply import body, chunks
from rxstream.simulator.script import Script, ScriptedCall
from rxstream.simulator.server import (
    SCRIPT_HEADER,
    ReceivedRequest,
    Settings,
    Simulator,
    serve,
    simulator_in_background,
)
from rxstream.simulator.steps import EACH_EVENT, FAST, FLOOD, LIVELY, WHOLE, Speed, Writes
from rxstream.simulator.turn import OfferedTool, Turn

__all__ = [
    "EACH_EVENT",
    "FAST",
    "FLOOD",
    "LIVELY",
    "MODELS",
    "SCRIPT_HEADER",
    "WHOLE",
    "Api",
    "At",
    "Disconnect",
    "EarlyEnd",
    "ErrorEvent",
    "ErrorPage",
    "Fault",
    "Garbage",
    "HttpError",
    "KeepAlives",
    "NoEndMark",
    "NotAStream",
    "OfferedTool",
    "ReceivedRequest",
    "Script",
    "ScriptedCall",
    "Settings",
    "Simulator",
    "Speed",
    "StaleConnection",
    "Stall",
    "Turn",
    "Writes",
    "apis",
    "body",
    "chunks",
    "serve",
    "simulator_in_background",
]
