"""The front door: every name is there, and none is paid for before it is asked for."""

import ast
import inspect
import pickle
import pydoc
import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest

import rxstream

HEAVY = {"aiohttp", "asyncio", "botocore", "msgspec", "reactivex", "regex", "rich", "structlog", "tiktoken"}
OPTIONAL = HEAVY - {"aiohttp", "asyncio", "msgspec", "reactivex", "regex"} | {
    "rxstream.simulator",
    "IPython",
    "tkinter",
}


def for_checkers() -> dict[str, str]:
    """The room of each name, as type checkers see it."""
    tree = ast.parse(inspect.getsource(rxstream))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    lines = [line for block in blocks for line in block.body if isinstance(line, ast.ImportFrom)]
    return {name.asname or name.name: line.module or "" for line in lines for name in line.names}


def at(room: str, name: str) -> object:
    return getattr(import_module(room), name)


def run(program: str) -> str:
    """What `program` prints, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_is_found_at_the_door_is_what_its_room_has() -> None:
    rooms = for_checkers()

    strangers = [name for name in rxstream.__all__ if getattr(rxstream, name) is not at(rooms[name], name)]

    assert not strangers


def test_type_checkers_see_what_is_there() -> None:
    assert sorted(for_checkers()) == sorted(rxstream.__all__)


def test_no_name_is_a_room_too() -> None:
    rooms = {module.name for module in iter_modules(rxstream.__path__)}

    assert rooms.isdisjoint(rxstream.__all__)  # importing the room would put it in the place of the name


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    program = (
        "import sys, rxstream; rooms = [name for name in sys.modules if 'rxstream.' in name]\n"
        f"print(*[name for name in [*rooms, *{HEAVY!r}] if name in sys.modules and name != 'rxstream._version'])"
    )

    assert not run(program)


def test_a_provider_imports_one_dialect_and_nothing_optional() -> None:
    program = (
        "import sys; from rxstream import AiProvider; AiProvider('openai.chat', api_key='none')\n"
        "from rxstream.dialects import dialects\n"
        "print([name for name in dialects() if 'rxstream.dialects.' + name.replace('.', '_') in sys.modules])\n"
        f"print(sorted({OPTIONAL!r} & {{*sys.modules}}))"
    )

    assert run(program).splitlines() == ["['openai.chat']", "[]"]


def test_a_star_brings_every_name() -> None:
    names = run("from rxstream import *; print(*globals())").split()

    assert set(rxstream.__all__) <= set(names)


def test_dir_and_help_tell_of_every_name() -> None:
    assert set(rxstream.__all__) <= set(dir(rxstream))
    page = pydoc.plain(pydoc.render_doc(rxstream))
    assert all(name in page for name in rxstream.__all__)


def test_the_rooms_can_be_reached_through_the_door() -> None:
    rooms = ["dialects", "errors", "framing", "operators", "schedulers", "simulator", "tokens"]

    names = run(f"import rxstream; print(*[getattr(rxstream, room).__name__ for room in {rooms!r}])").split()

    assert names == [f"rxstream.{room}" for room in rooms]


def test_every_room_can_be_the_first_one_entered() -> None:
    rooms = [module.name for module in iter_modules(rxstream.__path__) if module.name != "__main__"]
    program = (
        "import sys, importlib\n"
        f"for room in {rooms!r}:\n"
        "    for name in [name for name in sys.modules if name.partition('.')[0] == 'rxstream']:\n"
        "        del sys.modules[name]\n"
        "    print(importlib.import_module('rxstream.' + room).__name__)"
    )

    assert run(program).split() == [f"rxstream.{room}" for room in rooms]


def test_a_name_that_nobody_has_is_an_attribute_error_that_knows_better() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'AiProvidor'") as caught:
        getattr(rxstream, "AiProvidor")  # noqa: B009  # the name is wrong, which is the point

    assert (caught.value.name, caught.value.obj) == ("AiProvidor", rxstream)
    assert run("try: from rxstream import AiProvidor\nexcept ImportError: print('none')") == "none"


def test_what_the_door_gives_can_be_pickled() -> None:
    token = rxstream.TextDelta("blue")

    assert pickle.loads(pickle.dumps(token)) == token
    assert pickle.loads(pickle.dumps(rxstream.AiProvider)) is rxstream.AiProvider
