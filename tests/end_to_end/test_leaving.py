"""Programs that go away while streams are open do so quietly, at once, and leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STRICT = ("-W", "error")
PLAIN = ()
"""Without Python's hidden warnings: asyncio has one for each socket that its loop was closed over."""
BESIDE_THREADS = (*STRICT, "-W", "ignore:This process:DeprecationWarning")
"""Python 3.12 warns of forks beside threads, which is what is tried here."""
THREE = "one two three "


def left(name: str, options: tuple[str, ...]) -> tuple[int, list[str], str]:
    """Run a program of `leaving.py`; return its exit status, its lines and what it complained of."""
    command = [sys.executable, *options, "-m", "tests.end_to_end.leaving", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize(
    ("name", "options", "status", "lines"),
    [
        ("the_run_ends", STRICT, 0, [THREE] * 3),
        ("the_loop_is_closed", PLAIN, 0, [THREE, "gone"]),
        ("the_program_ends", STRICT, 0, ["bye"]),
        ("the_program_exits", STRICT, 3, ["bye"]),
    ],
)
def test_going_away_is_quiet(name: str, options: tuple[str, ...], status: int, lines: list[str]) -> None:
    assert left(name, options) == (status, lines, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize(
    ("name", "parents"),
    [
        ("it_forks_beside_the_background_loop", [THREE]),
        ("it_forks_inside_a_loop", ["one two ", THREE]),
    ],
)
def test_a_fork_streams_anew_and_leaves_its_parent_in_peace(name: str, parents: list[str]) -> None:
    lines = [f"child: {THREE}"] * 2 + ["status 0"] + [f"parent: {text}" for text in parents]

    assert left(name, BESIDE_THREADS) == (0, lines, "")
