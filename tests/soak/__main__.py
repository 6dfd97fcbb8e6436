"""Run streams for a long time, a thousand at once, and see that nothing is left of them.

    python -m tests.soak [--streams N] [--minutes N] [--seed N] [--json FILE]

The server, rxstream's own simulator, is another process. What befalls a stream (one of
all dialects, faults, cancellations, slow consumers, other threads) is drawn from the seed.
First `--churn` streams are opened and disposed of; then come rounds of `--round` streams.
After each the server hangs up, and what this process holds is printed. Exit status 1 if
a stream came to something else than it should, or if anything is left after the first round.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import linear_regression
from typing import Any

import msgspec

from rxstream import AiProvider
from rxstream.dialect import HttpRequest
from rxstream.dialects import dialect
from rxstream.errors import DeadlineError, StreamError
from rxstream.flow import RetryPolicy, StreamBackpressureController
from rxstream.messages import ChatRequest
from rxstream.simulator import SCRIPT_HEADER, apis
from rxstream.sources import Deadlines
from tests.soak.consumers import CONSUMERS, THREADS, Seen
from tests.soak.figures import Figures, figures, ours
from tests.soak.plans import APIS, HASTY, Plan, churn, plans, warming

ROOT = Path(__file__).resolve().parents[2]
PATIENT = Deadlines(connect=120, first_content=120, idle=120)
IMPATIENT = Deadlines(first_content=1, idle=1)
RETRY = RetryPolicy(retries=3, first_delay=0.01)
RATE = 40.0
"""Tokens a second at which a model speaks, to say how long the answers would have taken."""
ALLOWED = 64.0
"""KiB that a thousand streams may seem to leave: allocators are not exact."""
ENOUGH = 50_000
"""Streams after which the memory of a process says something about leaks."""


class Run:
    """One soak: its providers, its counts, and what was found wrong."""

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self.controller = StreamBackpressureController()
        self.counts: Counter[str] = Counter()
        self.tokens = 0
        self.wrong: list[str] = []
        self._providers: dict[tuple[str, bool], AiProvider] = {}

    @asynccontextmanager
    async def providers(self, url: str) -> AsyncGenerator[None]:
        """Have two providers for each API: one that can wait, under a controller, and one that can't."""
        async with AsyncExitStack() as stack:
            for api in APIS:
                for waits in (True, False):
                    self._providers[api, waits] = await stack.enter_async_context(
                        AiProvider(
                            _scripted(api),
                            base_url=url + apis()[api].base_path,
                            api_key="key",
                            deadlines=PATIENT if waits else IMPATIENT,
                            retry=RETRY if waits else RetryPolicy(retries=0),
                            controller=self.controller if waits else None,
                        )
                    )
            yield

    async def all_of(self, planned: Iterable[Plan]) -> None:
        """Run what is planned, so many at a time, each as soon as there is room."""
        todo = iter(planned)

        async def work(todo: Iterator[Plan]) -> None:
            for plan in todo:
                await self._one(plan)

        await asyncio.gather(*(work(todo) for _ in range(self.streams)))

    async def _one(self, plan: Plan) -> None:
        provider = self._providers[plan.api, not plan.is_stalled]
        model = "anthropic.some-model" if plan.api == "bedrock.invoke" else "some-model"
        stream = provider.stream(_as_prompt(plan), model=model)
        seen = await CONSUMERS[plan.consumer](stream, random.Random(plan.number))
        self.tokens += seen.tokens
        self.counts["left" if seen.has_left else "failed" if seen.error else "whole"] += 1
        if (problem := _wrong(plan, seen)) is not None and len(self.wrong) < 20:
            self.wrong.append(f"{problem}: {plan} {seen}")


def _wrong(plan: Plan, seen: Seen) -> str | None:
    """What is wrong with what was seen, if anything is."""
    if seen.terminals > 1:
        return "two terminals"
    if plan.said and not plan.said.startswith(seen.text):
        return "other text"
    if seen.error is not None and not isinstance(seen.error, StreamError):
        return "an error that is not ours"
    if plan.consumer in HASTY:
        return None
    if seen.terminals != 1:
        return "no terminal"
    if plan.fails != (seen.error is not None):
        return "an error" if seen.error else "no error"
    if plan.is_stalled and not isinstance(seen.error, DeadlineError):
        return "not the deadline's error"
    return "not the whole text" if not plan.fails and seen.text != plan.said else None


def _scripted(api: str) -> Any:
    """The dialect of `api`, whose requests take what the server is to do, their prompt, along as a header."""
    plain = dialect(api)

    def build(request: ChatRequest) -> HttpRequest:
        built = plain.build_request(request)
        return msgspec.structs.replace(built, headers={**built.headers, SCRIPT_HEADER: request.messages[-1].text})

    return replace(plain, build_request=build)


def _as_prompt(plan: Plan) -> str:
    return json.dumps(msgspec.to_builtins(plan.script))  # no header holds anything but ASCII


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[str, asyncio.subprocess.Process]]:
    """Run the server; give its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak.server"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip(), process
    finally:
        process.kill()
        await process.communicate()


async def at_rest(server: asyncio.subprocess.Process, wanted: int | None) -> tuple[int, Figures]:
    """Let the server hang up, wait until that is noticed, and count; return its open connections too."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(b"\n")
    held = int(await server.stdout.readline())
    await asyncio.sleep(0.1)
    found = await figures()
    for _ in range(20):
        if wanted is None or found.descriptors <= wanted:
            break
        await asyncio.sleep(0.1)
        found = await figures()
    return held, found


async def soak(options: argparse.Namespace) -> int:
    """Do it all; return the exit status."""
    loop, run = asyncio.get_running_loop(), Run(options.streams)
    loop.set_exception_handler(lambda _, context: run.wrong.append(f"the loop heard {context}"))
    await asyncio.gather(*(loop.run_in_executor(THREADS, time.sleep, 0.05) for _ in range(4)))  # all start now
    rounds: list[tuple[int, Figures]] = []
    history: list[dict[str, Any]] = []
    began, streams = time.monotonic(), 0
    todo = (plan for plan in plans(options.seed) if not (plan.is_stalled and options.no_stalls))

    def report(what: str, held: int, now: Figures) -> None:
        seconds = time.monotonic() - began
        history.append({"what": what, "streams": streams, "seconds": seconds} | msgspec.structs.asdict(now))
        _say(
            f"{what:<9}{streams:>9,} streams {seconds:>6.0f} s {now.resident:>8,} KiB {now.tasks:>4} tasks"
            f" {now.timers:>3} timers {now.descriptors:>4} files {now.threads:>3} threads {now.ours:>7,} ours"
            f" {now.objects:>8,} objects  {held:>5} pooled"
        )

    async with serving() as (url, server), run.providers(url):
        _say(f"{options.streams} streams at a time, seed {options.seed}, {len(APIS)} dialects: {', '.join(APIS)}")
        report("start", *await at_rest(server, None))
        await run.all_of(warming())
        await run.all_of(islice(todo, options.round))  # everything is loaded, and as large as it gets
        await run.all_of(islice(churn(), options.streams))
        streams += options.round + options.streams
        held, first = await at_rest(server, None)
        report("warm", held, first)
        warm = streams
        before = ours()

        await run.all_of(islice(churn(), options.churn))
        streams += options.churn
        held, after_churn = await at_rest(server, first.descriptors)
        report("churn", held, after_churn)
        rounds.append((streams, after_churn))
        while len(rounds) <= options.rounds or time.monotonic() - began < options.minutes * 60:
            await run.all_of(islice(todo, options.round))
            streams += options.round
            held, now = await at_rest(server, first.descriptors)
            report(f"round {len(rounds)}", held, now)
            rounds.append((streams, now))
        left = ours() - before
    slope = _slope(rounds)
    figures_of_controller = run.controller.snapshot()
    hours = (run.tokens / RATE) / 3600
    _say(
        f"end: {dict(run.counts)}, {run.tokens:,} tokens seen: {hours:.1f} hours of a model's speech;"
        f" memory {slope:+.1f} KiB per 1,000 streams"
    )
    problems = [*run.wrong]
    problems += [
        f"{name} grew from {getattr(first, name)} to {getattr(now, name)}"
        for count, now in rounds
        for name in ("tasks", "timers", "descriptors", "threads", "ours")
        # a leak of an object would be one for each stream, or each that failed in some way: not one for a thousand
        if getattr(now, name) - getattr(first, name) > (count - warm) // 1_000 * (name == "ours")
    ]
    if left and problems:
        problems.append(f"what is more in the end: {dict(left)}")
    if slope > ALLOWED and streams >= ENOUGH:
        problems.append(f"memory grows by {slope:.1f} KiB per 1,000 streams")
    if figures_of_controller.streams or figures_of_controller.depth:
        problems.append(f"the controller still counts {figures_of_controller}")
    for problem in problems:
        _say(f"WRONG: {problem}")
    if options.json:
        options.json.write_text(json.dumps({"rounds": history, "KiB per 1,000 streams": slope, "wrong": problems}))
    return 1 if problems else 0


def _slope(rounds: list[tuple[int, Figures]]) -> float:
    """KiB by which memory grows with every thousand streams, over all rounds."""
    if len(rounds) < 2:
        return 0.0
    return linear_regression([streams / 1000 for streams, _ in rounds], [now.resident for _, now in rounds]).slope


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--streams", type=int, default=1_000, help="how many at a time (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long, at least (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how many, at least (default: %(default)s)")
    parser.add_argument("--round", type=int, default=5_000, help="streams of a round (default: %(default)s)")
    parser.add_argument("--churn", type=int, default=10_000, help="streams opened and disposed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="other seeds, other faults (default: %(default)s)")
    parser.add_argument("--no-stalls", action="store_true", help="leave out what takes its time, such as deadlines")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return asyncio.run(soak(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
