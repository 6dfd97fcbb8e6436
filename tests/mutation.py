"""Break the code in small ways, one by one, and print how many of the faults the tests notice.

    python -m tests.mutation [MODULE …] [--processes N] [--report]

A module such as `rxstream.framing.sse`, or a pattern such as `rxstream.flow.*`; all that `[tool.mutmut]` in
`pyproject.toml` names if there is none. mutmut does the work, in the folder `mutants`: it copies the project
there, changes an operator, a number, a word, an argument, and runs the tests that reach the changed function.
What was tried before is not tried again, except for modules that are named. A fault that nobody noticed is
shown by `mutmut show NAME`. `--report` tries nothing and prints what is known.

Not every fault can be noticed: some change the speed alone, or a value that is never looked at.
"""

import argparse
import subprocess
import sys
from collections import Counter, defaultdict
from fnmatch import fnmatch

NOTICED = {"killed", "timeout", "segfault", "caught by type check"}


def results() -> dict[str, str]:
    """What mutmut knows: the outcome of each fault, by its name."""
    told = subprocess.run(
        [sys.executable, "-m", "mutmut", "results", "--all", "true"], check=True, capture_output=True, text=True
    )
    return dict(line.strip().rsplit(": ", 1) for line in told.stdout.splitlines() if line.strip())


def report(patterns: list[str]) -> str:
    """A row for each module, and the names of the faults that nobody noticed."""
    by_module: dict[str, Counter[str]] = defaultdict(Counter)
    unnoticed: list[str] = []
    for name, outcome in results().items():
        module = name.rpartition(".")[0]
        if patterns and not any(fnmatch(module, pattern) for pattern in patterns):
            continue
        by_module[module][outcome] += 1
        if outcome not in {*NOTICED, "not checked"}:
            unnoticed.append(f"{name} ({outcome})")
    rows = [f"{'module':<45}{'faults':>8}{'noticed':>9}{'share':>8}{'untried':>9}"]
    for module, outcomes in sorted(by_module.items()):
        untried = outcomes.pop("not checked", 0)
        tried, noticed = outcomes.total(), sum(outcomes[outcome] for outcome in NOTICED)
        share = f"{noticed / tried:.1%}" if tried else ""
        rows.append(f"{module:<45}{tried:>8}{noticed:>9}{share:>8}{untried:>9}")
    return "\n".join([*rows, "", "Not noticed:", *unnoticed, ""])


def main() -> None:
    """Try the faults of the modules that the command line names, and print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description="Count the faults that the tests notice."
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="try nothing, print what is known")
    arguments = parser.parse_args()
    if not arguments.report:
        patterns = [f"{module}.*" for module in arguments.modules]
        run = [sys.executable, "-m", "mutmut", "run", "--max-children", str(arguments.processes), *patterns]
        subprocess.run(run, check=True)
    sys.stdout.write(report(arguments.modules))


if __name__ == "__main__":
    main()
