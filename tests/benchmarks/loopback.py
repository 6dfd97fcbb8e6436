"""What each contender costs over loopback, each in a process of its own, all in turn."""

from collections.abc import Iterator

from tests.benchmarks import first_token, paced
from tests.benchmarks.children import Bench, figures_of
from tests.benchmarks.contenders import APIS, HAND_WRITTEN, OPENAI, READ_ONLY, RXSTREAM
from tests.benchmarks.figures import Table
from tests.benchmarks.held import HOLDERS
from tests.benchmarks.imports import AIOHTTP_AND_REACTIVEX, IMPORTS

COUNTS = {"flood": 20_000, "events": 2_000}
"""How many deltas an answer has in each mode."""
TITLES = {
    ("flood", "chat"): "loopback, 64 KiB writes",
    ("flood", "messages"): "loopback, 64 KiB writes, Anthropic's API",
    ("events", "chat"): "loopback, one event a write",
    ("events", "messages"): "loopback, one event a write, Anthropic's API",
}
PEAKS = "peak memory, loopback, 64 KiB writes"
ON_UVLOOP = ", uvloop"
FIRST_TOKEN = {"cold": "first token, cold", "warm": "first token, warm", "cpu": "CPU of a short answer, warm"}
HELD = {"idle": "memory, open and silent", "stalled": "memory, nobody reads on"}
IMPORTING = "imports"


def measure_tokens(bench: Bench, mode: str) -> Iterator[Table]:
    """Yield what a token costs, and for a flood how much memory there was at most."""
    for api, contenders in APIS.items():
        commands: dict[str, list[str]] = {}
        for name in contenders:
            command = ["tests.benchmarks.contenders", api, name, f"{bench.server.base}/{mode}", str(COUNTS[mode])]
            if mode == "events":
                command += ["--answers", bench.server.answers]
            commands[name] = command
            if bench.uvloop or (mode == "events" and name in {HAND_WRITTEN, RXSTREAM}):
                commands[name + ON_UVLOOP] = [*command, "--uvloop"]
        found = bench.in_turn(commands)
        yield Table(TITLES[mode, api], "CPU microseconds a token", HAND_WRITTEN, figures_of(found, "cpu"))
        if (mode, api) == ("flood", "chat"):
            yield Table(PEAKS, "MiB", HAND_WRITTEN, figures_of(found, "peak", 1 / 1024))


def paced_title(streams: int, figure: str) -> str:
    """Return the title of the table of one figure of so many streams."""
    return f"paced streams, {streams:,}: {figure}"


def measure_paced(bench: Bench) -> Iterator[Table]:
    """Yield what streams at the pace of models cost, and how late their tokens are."""
    for streams, count in paced.COUNTS.items():
        commands: dict[str, list[str]] = {}
        for name in paced.READERS:
            if name == OPENAI and streams > paced.FEW:
                continue
            address = [f"{bench.server.base}/paced", bench.server.answers]
            commands[name] = ["tests.benchmarks.paced", name, *address, str(streams), str(count)]
            if bench.uvloop:
                commands[name + ON_UVLOOP] = [*commands[name], "--uvloop"]
        found = bench.in_turn(commands)
        for figure, unit in paced.UNITS.items():
            yield Table(paced_title(streams, figure), unit, HAND_WRITTEN, figures_of(found, figure))


def measure_first_token(bench: Bench) -> Iterator[Table]:
    """Yield how soon the first token is there."""
    base = f"{bench.server.base}/flood"
    found = bench.in_turn({name: ["tests.benchmarks.first_token", name, base] for name in first_token.READERS})
    for figure, title in FIRST_TOKEN.items():
        yield Table(
            title,
            "CPU milliseconds" if figure == "cpu" else "milliseconds from the question",
            HAND_WRITTEN,
            figures_of(found, figure),
        )


def measure_memory(bench: Bench) -> Iterator[Table]:
    """Yield what streams hold that are open and silent, and those whose consumer has stopped."""
    for kind, title in HELD.items():
        commands = {name: ["tests.benchmarks.held", kind, name, bench.server.base] for name in HOLDERS}
        yield Table(title, "KiB a stream", READ_ONLY, figures_of(bench.in_turn(commands), "held"))


def measure_imports(bench: Bench) -> Iterator[Table]:
    """Yield what it costs to import."""
    found = bench.in_turn({name: ["tests.benchmarks.imports", name] for name in IMPORTS})
    yield Table(IMPORTING, "CPU milliseconds", AIOHTTP_AND_REACTIVEX, figures_of(found, "cpu"))
