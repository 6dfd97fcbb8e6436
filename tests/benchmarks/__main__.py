"""Run every contender in turn, round after round, and print what a token costs each of them.

    python -m tests.benchmarks [--only PART] [--rounds N] [--contender WORD] [--uvloop] [--litellm PYTHON] [--json FILE]

Machines are noisy: quote the ratios of one run, not figures of two.
"""

import argparse
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from tests.benchmarks import demand, in_memory, loopback, operators, presets, ui
from tests.benchmarks.children import Bench, bench
from tests.benchmarks.figures import Table, judge
from tests.benchmarks.targets import TARGETS

PACKAGES = [
    "rxstream",
    "aiohttp",
    "anthropic",
    "httpx",
    "httpx-sse",
    "msgspec",
    "openai",
    "reactivex",
    "uvloop",
]


def _demand(at: Bench) -> Iterator[Table]:
    for size, ways in demand.measure(at.rounds).items():
        yield Table(f"added by demand, {size}", "CPU microseconds a token", "observe_on(asyncio)", ways)


def _operators(at: Bench) -> Iterator[Table]:
    figures = operators.measure(at.rounds)
    yield Table("added by operators, taps and pipelines", "CPU microseconds a token", operators.REFERENCE, figures)


def _presets(at: Bench) -> Iterator[Table]:
    for figure, found in presets.measure(at.server.base, at.rounds).items():
        yield Table(f"presets: {figure}", presets.UNITS[figure], presets.NONE, found)


def _windows(at: Bench) -> Iterator[Table]:
    for figure, found in ui.measure(at.server.base, at.rounds).items():
        yield Table(f"windows: {figure}", ui.UNITS[figure], ui.REFERENCE, found)


PARTS: dict[str, Callable[[Bench], Iterator[Table]]] = {
    "in-memory": lambda at: in_memory.measure(at.rounds),
    "flood": lambda at: loopback.measure_tokens(at, "flood"),
    "one-event": lambda at: loopback.measure_tokens(at, "events"),
    "paced": loopback.measure_paced,
    "first-token": loopback.measure_first_token,
    "memory": loopback.measure_memory,
    "imports": loopback.measure_imports,
    "demand": _demand,
    "operators": _operators,
    "presets": _presets,
    "windows": _windows,
}


def main() -> None:
    """Measure, print and, if asked, write the figures down."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="run this part; may be given several times")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs (default: %(default)s)")
    parser.add_argument(
        "--contender", action="append", default=[], metavar="WORD", help="run those with this in their names"
    )
    parser.add_argument("--uvloop", action="store_true", help="run every contender on uvloop too")
    parser.add_argument(
        "--litellm",
        default=os.environ.get("LITELLM_PYTHON"),
        metavar="PYTHON",
        help="a Python that has litellm, which wants an older openai (default: $LITELLM_PYTHON)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options = parser.parse_args()

    machine = _machine(options.litellm)
    if machine["load"] > 0.5:
        print(f"{machine['load']:.1f} programs run beside this one: ratios are coarse, and delays are theirs")
    began = time.perf_counter()
    tables: list[Table] = []
    seconds: dict[str, float] = {}
    with bench(options.rounds, only=options.contender, litellm=options.litellm, uvloop=options.uvloop) as at:
        for part in options.only or PARTS:
            part_began = time.perf_counter()
            for table in PARTS[part](at):
                tables.append(table)
                print("", *table.lines(), sep="\n", flush=True)
            seconds[part] = time.perf_counter() - part_began
    verdicts = [verdict for verdict in judge(TARGETS, tables) if verdict.measured is not None or not options.only]
    if verdicts:
        print("\ntargets: measured, of at most", *(verdict.line() for verdict in verdicts), sep="\n")
    print(f"\n{time.perf_counter() - began:.0f} seconds")
    if options.json:
        results = {"machine": machine, "seconds": seconds, "tables": tables, "targets": verdicts}
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))


def _machine(litellm: str | None) -> dict[str, Any]:
    """What the figures were measured on, and with."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    if litellm is not None:
        ask = [litellm, "-c", "from importlib.metadata import version; print(version('litellm'))"]
        versions["litellm"] = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip() or None
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "versions": versions,
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    names = [line for line in facts.read_text().splitlines() if line.startswith("model name")] if facts.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()


if __name__ == "__main__":
    main()
