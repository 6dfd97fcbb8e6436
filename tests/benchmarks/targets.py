"""What is aimed at, as ratios within one run. No test holds anything to it: a slow machine is no bug."""

from tests.benchmarks.contenders import (
    ANTHROPIC,
    HAND_WRITTEN,
    OPENAI,
    OPERATORS,
    PIPELINE,
    READ_ONLY,
    RXSTREAM,
)
from tests.benchmarks.figures import Target
from tests.benchmarks.held import ITERATED
from tests.benchmarks.imports import AIOHTTP_AND_REACTIVEX, IMPORT_RXSTREAM
from tests.benchmarks.loopback import FIRST_TOKEN, HELD, IMPORTING, ON_UVLOOP, PEAKS, TITLES, paced_title

FLOOD, EVENTS = TITLES["flood", "chat"], TITLES["events", "chat"]
FLOOD_MESSAGES = TITLES["flood", "messages"]

TARGETS = [
    Target("flood: at most 1.15 x the hand-written loop", FLOOD, RXSTREAM, HAND_WRITTEN, 1.15),
    Target("flood: at most 1/60 of the openai SDK", FLOOD, RXSTREAM, OPENAI, 1 / 60),
    Target("flood: at most 1/12 of the anthropic SDK on its own API", FLOOD_MESSAGES, RXSTREAM, ANTHROPIC, 1 / 12),
    Target("flood, five stock operators: at most 1.6 x the hand-written loop", FLOOD, OPERATORS, HAND_WRITTEN, 1.6),
    Target("flood, full pipeline: at most 3 x the hand-written loop", FLOOD, PIPELINE, HAND_WRITTEN, 3),
    Target("flood, full pipeline: at most 1/25 of the openai SDK", FLOOD, PIPELINE, OPENAI, 1 / 25),
    Target("one event a write: at most 0.85 x the hand-written loop", EVENTS, RXSTREAM, HAND_WRITTEN, 0.85),
    Target("one event a write, on uvloop: at most 0.6 x of it", EVENTS, RXSTREAM + ON_UVLOOP, HAND_WRITTEN, 0.6),
    Target("one event a write: at most 1/8 of the openai SDK", EVENTS, RXSTREAM, OPENAI, 1 / 8),
    Target(
        "100 paced streams: p99 at most 1 ms above the read-only loop's",
        paced_title(100, "p99"),
        RXSTREAM,
        READ_ONLY,
        1_000,
        True,
    ),
    Target(
        "100 paced streams: at most 1/1.5 of the hand-written loop's CPU, so 1.5 x as many on one core",
        paced_title(100, "cpu"),
        RXSTREAM,
        HAND_WRITTEN,
        1 / 1.5,
    ),
    Target("first token, cold: at most 0.2 ms later", FIRST_TOKEN["cold"], RXSTREAM, HAND_WRITTEN, 0.2, True),
    Target("first token, warm: at most 0.2 ms later", FIRST_TOKEN["warm"], RXSTREAM, HAND_WRITTEN, 0.2, True),
    Target("peak memory: at most 4 MiB above the hand-written loop", PEAKS, RXSTREAM, HAND_WRITTEN, 4, True),
    Target("open and silent: at most 64 KiB above the read-only loop", HELD["idle"], RXSTREAM, READ_ONLY, 64, True),
    Target("nobody reads on: at most 2 MB a stream", HELD["stalled"], ITERATED, None, 2_000_000 / 1024),
    Target("import: at most 1.1 x aiohttp and reactivex", IMPORTING, IMPORT_RXSTREAM, AIOHTTP_AND_REACTIVEX, 1.1),
]
