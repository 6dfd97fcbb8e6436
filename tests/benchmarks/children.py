"""Runs every contender in a process of its own, in turn, round after round."""

import compileall
import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import rxstream

LONGEST = 120
"""Seconds that one contender may take in one round."""


class Server(NamedTuple):
    """Where the server of the benchmarks is."""

    base: str
    answers: str
    """The path of the socket on which each event is answered."""


class Bench(NamedTuple):
    """How everything is measured."""

    rounds: int
    server: Server
    only: list[str]
    """Words of which one is in the name of each contender to be measured; none for all."""
    litellm: str | None
    """The Python in which litellm is installed."""
    uvloop: bool
    """Whether every contender is measured on uvloop too."""

    def in_turn(self, commands: Mapping[str, list[str]]) -> dict[str, list[dict[str, float]]]:
        """Return what each of `commands`, modules and their arguments by contender, printed in each round.

        Who fails once is left out, and the reason is told.
        """
        wanted = [name for name in commands if not self.only or any(word in name for word in self.only)]
        found: dict[str, list[dict[str, float]]] = {name: [] for name in wanted}
        for _ in range(self.rounds):
            for name in list(found):
                try:
                    found[name].append(self._run(name, commands[name]))
                except ChildProcessError as error:
                    print(f"  {name} is left out: {error}", file=sys.stderr)
                    del found[name]
        return found

    def _run(self, name: str, command: list[str]) -> dict[str, float]:
        python = sys.executable
        if name.startswith("litellm"):
            if self.litellm is None:
                raise ChildProcessError("say where it is installed with --litellm PYTHON")
            python = self.litellm
        try:
            done = subprocess.run(
                [python, "-m", *command], capture_output=True, text=True, check=False, timeout=LONGEST
            )
        except subprocess.TimeoutExpired as error:
            raise ChildProcessError(f"it took more than {LONGEST} seconds") from error
        if done.returncode:
            raise ChildProcessError((done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1])
        return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def bench(rounds: int, *, only: list[str], litellm: str | None, uvloop: bool) -> Generator[Bench]:
    """Start the server, and stop it.

    rxstream is compiled first, as it is where it is installed: what that costs, in time and in memory, is in no figure.
    """
    compileall.compile_dir(str(Path(rxstream.__file__).parent), quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        answers = str(Path(folder) / "answers")
        command = [sys.executable, "-m", "tests.benchmarks.server", answers]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                address = Server(f"http://127.0.0.1:{server.stdout.readline().strip()}", answers)
                yield Bench(rounds, address, only, litellm, uvloop)
            finally:
                server.terminate()


def figures_of(found: Mapping[str, list[dict[str, float]]], figure: str, scale: float = 1) -> dict[str, list[float]]:
    """Return one figure of what was found, by contender."""
    return {name: [each[figure] * scale for each in rounds] for name, rounds in found.items()}
