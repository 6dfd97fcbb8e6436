"""Scripts that a client asks for by the name of a model, so that it need not be changed to meet a fault."""

from collections.abc import Mapping

from rxstream.simulator.faults import At, Disconnect, ErrorEvent, HttpError, KeepAlives, NoEndMark, Stall
from rxstream.simulator.script import Script
from rxstream.simulator.steps import FAST, FLOOD, Speed, Writes

MODELS: Mapping[str, Script] = {
    "simulated": Script(),
    "simulated-fast": Script(speed=FAST),
    "simulated-slow": Script(speed=Speed(tokens_per_second=5, first_token_after=1)),
    "simulated-long": Script(length=5_000),
    "simulated-flood": Script(length=100_000, speed=FAST, writes=FLOOD),
    "simulated-shredded": Script(writes=Writes(every=5, seed=1)),
    "simulated-thinking": Script(think=True),
    "simulated-tools": Script(call_tools=True),
    "simulated-refusing": Script(refusal="I'm sorry, but I can't help with that."),
    "simulated-limited": Script(faults=(HttpError(status=429, retry_after=2),)),
    "simulated-overloaded": Script(faults=(HttpError(status=529, kind="overloaded_error", message="Overloaded"),)),
    "simulated-flaky": Script(faults=(HttpError(status=503, retry_after=0.1, times=1),)),
    "simulated-error": Script(faults=(ErrorEvent(at=At(tokens=12)),)),
    "simulated-cut": Script(faults=(Disconnect(at=At(tokens=12)),)),
    "simulated-no-end-mark": Script(faults=(NoEndMark(),)),
    "simulated-stalling": Script(faults=(Stall(at=At(tokens=12)),)),
    "simulated-silent": Script(faults=(KeepAlives(),)),
}
"""What each name of a model stands for; any name that does not begin with `simulated` gets the run's script."""


def named(model: str) -> Script | None:
    """Return the script that `model` stands for; `None` if it is nobody's but the run's.

    What stands before a dot names the maker, which some services want: `anthropic.simulated`.
    Raises `LookupError` that names those there are, if `model` begins like one.
    """
    model = model.rpartition(".")[2]
    if model not in MODELS and model.startswith("simulated"):
        raise LookupError(f"the model {model!r} does not exist; there are {', '.join(MODELS)}")
    return MODELS.get(model)
