"""The notebooks run from top to bottom, offline, and complain of nothing.

A cell before the first one takes note of what asyncio and Python would only write
down somewhere: coroutines that nobody awaited, tasks whose errors nobody asked for. A cell
behind the last one looks at the notes. Neither is stored.
"""

import re
from pathlib import Path
from typing import Any

import pytest

nbclient: Any = pytest.importorskip("nbclient")
nbformat: Any = pytest.importorskip("nbformat")

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
LONGEST = 60
"""Seconds that a cell may take on a busy machine; none should take five."""

TAKE_NOTE = """
import asyncio as _asyncio, gc as _gc, sys as _sys, warnings as _warnings

_complaints = []
_asyncio.get_running_loop().set_exception_handler(lambda loop, context: _complaints.append(str(context)))
_sys.unraisablehook = lambda raised: _complaints.append(repr(raised.exc_value))
_warnings.simplefilter("always")
_warnings.showwarning = lambda message, category, *where: _complaints.append(f"{category.__name__}: {message}")
"""
LOOK_AT_NOTES = """
for _ in range(3):
    _gc.collect()
    await _asyncio.sleep(0)
assert not _complaints, _complaints
"""


def run(notebook: Any) -> None:
    """Run every cell; raise if one raises, writes to stderr, or leaves something to complain of."""
    cells = notebook.cells
    before, after = (nbformat.v4.new_code_cell(code) for code in (TAKE_NOTE, LOOK_AT_NOTES))
    notebook.cells = [before, *cells, after]
    nbclient.NotebookClient(notebook, timeout=LONGEST, kernel_name="python3", store_widget_state=False).execute()
    written = [text for cell in cells for text in errors_in(cell)]
    assert not written, written


def errors_in(cell: Any) -> list[str]:
    """What a cell wrote to stderr, and coroutines that it showed instead of awaiting them."""
    outputs = cell.get("outputs", [])
    shown = [output.data.get("text/plain", "") for output in outputs if "data" in output]
    written = [output.text for output in outputs if output.get("name") == "stderr"]
    return written + [text for text in shown if text.startswith("<coroutine object")]


def notebook_of(*cells: str) -> Any:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path) -> None:
    run(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_what_it_shows(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]

    assert notebook.cells[0].source.startswith("# ")
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(cell.outputs for cell in cells)
    assert not [text for cell in cells for text in errors_in(cell)]
    assert not re.search(r"/(home|root|tmp|Users|work)/|asyncio\.run\(|time\.sleep\(", path.read_text("utf-8"))


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        (["import asyncio\nslept = asyncio.sleep(0)", "del slept"], "never awaited"),
        (["import asyncio\nasyncio.sleep(0)"], "coroutine object"),
        (["import asyncio\nasync def fail(): 1 / 0", "task = asyncio.ensure_future(fail())", "del task"], "division"),
        (["import sys", "print('oh', file=sys.stderr)"], "oh"),
        (["1 / 0"], "division"),
    ],
    ids=[
        "a coroutine that nobody awaits",
        "a coroutine that is shown",
        "a task that nobody asks",
        "a word on stderr",
        "an error in a cell",
    ],
)
def test_what_a_notebook_does_wrong_is_found(cells: list[str], complaint: str) -> None:
    with pytest.raises((AssertionError, nbclient.exceptions.CellExecutionError), match=complaint):
        run(notebook_of(*cells))
