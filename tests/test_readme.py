"""What the README shows works as it stands."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import reactivex

from rxstream.simulator import FAST, Settings, simulator_in_background

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PROGRAMS = [block for block in PYTHON if "asyncio.run" in block]
FRAGMENTS = [block for block in PYTHON if "asyncio.run" not in block]


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_runs(program: str) -> None:
    with simulator_in_background(Settings(speed=FAST)) as simulator:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        environment["OPENAI_BASE_URL"] = simulator.base_url("openai.chat")
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60, check=False
        )

    assert (done.returncode, done.stderr) == (0, "")
    assert "TextDelta" in done.stdout
    assert "blue" in done.stdout


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_each_fragment_is_python_and_its_imports_are_there(fragment: str) -> None:
    tree = compile(fragment, "README.md", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    imports = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    exec("\n".join(imports), {})  # noqa: S102 - the README is our own


@pytest.mark.parametrize("fragment", [fragment for fragment in FRAGMENTS if "def test_" in fragment])
def test_each_test_in_it_passes(fragment: str) -> None:
    names: dict[str, Any] = {"tokens": reactivex.empty()}
    exec(fragment, names)  # noqa: S102 - the README is our own

    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()
