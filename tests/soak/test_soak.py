"""A small portion of the soak: the whole of it is `python -m tests.soak`."""

import asyncio
import json
import socket
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from rxstream.flow import Gate
from rxstream.schedulers import background_loop
from tests.soak.figures import figures, ours
from tests.soak.plans import plans

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--streams", "50", "--minutes", "0", "--rounds", "1", "--round", "150", "--churn", "200", "--no-stalls")


def test_streams_that_went_every_way_leave_nothing(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-W", "error", "-m", "tests.soak", *SMALL, "--json", str(file)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    figures: dict[str, Any] = json.loads(file.read_text())
    assert figures["wrong"] == []
    assert [each["what"] for each in figures["rounds"]] == ["start", "warm", "churn", "round 1"]


def test_the_same_seed_plans_the_same() -> None:
    assert list(islice(plans(7), 50)) == list(islice(plans(7), 50))
    assert list(islice(plans(7), 50)) != list(islice(plans(8), 50))


async def test_the_figures_see_what_is_left() -> None:
    for _ in range(1_000):  # what another test left there may just be on its way out
        if asyncio.all_tasks(background_loop()):
            await asyncio.sleep(0.001)
    before, known = await figures(), ours()
    task = asyncio.ensure_future(asyncio.sleep(1_000))
    opened = socket.socket()
    await asyncio.sleep(0)
    held = Gate()

    after = await figures()
    task.cancel()
    opened.close()

    assert after.tasks == before.tasks + 1
    assert after.timers == before.timers + 1
    assert after.descriptors in {before.descriptors + 1, 0}
    assert after.ours > before.ours
    assert (ours() - known)["rxstream.flow.gate.Gate"] == 1
    assert held.is_open
