"""Run every contender in turn, round after round, and print what a token costs each of them.

    python -m tests.benchmarks [--rounds N] [--json FILE]

Machines are noisy: quote the ratios of one run, not figures of two.
"""

import argparse
import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.demand import measure as measure_demand
from tests.benchmarks.in_memory import measure
from tests.benchmarks.operators import REFERENCE as PLAIN_MAP
from tests.benchmarks.operators import measure as measure_operators
from tests.benchmarks.presets import NONE, UNITS
from tests.benchmarks.presets import measure as measure_presets
from tests.benchmarks.ui import REFERENCE as QT
from tests.benchmarks.ui import UNITS as UI_UNITS
from tests.benchmarks.ui import measure as measure_ui

COUNTS = {"flood": 20_000, "events": 2_000}
"""How many tokens an answer has in each mode."""
MODES = {"flood": "loopback, 64 KiB writes", "events": "loopback, one event a write"}
REFERENCE = "aiohttp + msgspec, hand-written"
PACKAGES = ["rxstream", "aiohttp", "msgspec", "reactivex", "httpx", "httpx-sse", "openai"]


def main() -> None:
    """Measure, print and, if asked, write the figures down."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options = parser.parse_args()

    results: dict[str, Any] = {"machine": _machine(), "microseconds a token": {}}
    figures = results["microseconds a token"]
    for size, ways in measure(options.rounds).items():
        figures[f"in memory, {size}"] = ways
        _print(f"in memory, {size}", ways, reference="BodyReader")
    for size, ways in measure_demand(options.rounds).items():
        figures[f"added by demand, {size}"] = ways
        _print(f"added by demand, {size}", ways, reference="observe_on(asyncio)")
    figures["added by operators"] = measure_operators(options.rounds)
    _print("added by operators, taps and pipelines", figures["added by operators"], reference=PLAIN_MAP)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.server"], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        try:
            for mode, title in MODES.items():
                costs, peaks = _over_loopback(base, mode, options.rounds)
                figures[title] = costs
                results[f"peak KiB, {title}"] = peaks
                _print(title, costs, reference=REFERENCE, peaks=peaks)
            results["presets"] = measure_presets(base, options.rounds)
            for figure, presets in results["presets"].items():
                _print(f"presets: {figure}", presets, reference=NONE, unit=UNITS[figure])
            results["windows"] = measure_ui(base, options.rounds)
            for figure, windows in results["windows"].items():
                _print(f"windows: {figure}", windows, reference=QT, unit=UI_UNITS[figure])
        finally:
            server.terminate()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def _over_loopback(base: str, mode: str, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """CPU microseconds a token, and peak KiB, of each contender in each round."""
    costs: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in CONTENDERS:
            command = [sys.executable, "-m", "tests.benchmarks.contenders", name, f"{base}/{mode}", str(COUNTS[mode])]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"  {name} is left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                continue
            figures = json.loads(done.stdout)
            costs.setdefault(name, []).append(figures["cpu"] / COUNTS[mode] * 1e6)
            peaks.setdefault(name, []).append(figures["peak_kib"])
    return costs, peaks


def _print(
    title: str,
    costs: dict[str, list[float]],
    *,
    reference: str,
    peaks: dict[str, list[float]] | None = None,
    unit: str = "CPU microseconds a token",
) -> None:
    """Print medians with their spread, and the median ratio to `reference`, round by round."""
    print(f"\n{title}: {unit}, median (least to most), ratio to {reference}")
    for name, each in costs.items():
        ratios = [cost / other for cost, other in zip(each, costs.get(reference, []), strict=False)]
        ratio = f"{median(ratios):8.2f} x" if ratios else ""
        peak = f"{median(peaks[name]) / 1024:8.0f} MiB" if peaks else ""
        print(f"  {name:34}{median(each):9.2f}  ({min(each):.2f} to {max(each):.2f}){ratio}{peak}")


def _machine() -> dict[str, str]:
    facts = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


if __name__ == "__main__":
    main()
