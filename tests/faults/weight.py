"""How much a machine holds."""

import sys
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, cast

from msgspec import Struct

_SHARED = (type, FunctionType, BuiltinFunctionType, ModuleType)


def held_bytes(thing: object) -> int:
    """Return the bytes of `thing` and of all that it holds: values, containers, and objects that have attributes.

    What the interpreter holds anyway (classes, functions, modules) weighs nothing.
    """
    seen: set[int] = set()
    waiting: list[object] = [thing]
    total = 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, _SHARED):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        waiting += _inside(one)
    return total


def _inside(thing: Any) -> list[object]:
    match thing:
        case dict():
            members = cast(dict[object, object], thing)
            return [*members, *members.values()]
        case list() | tuple() | set() | frozenset():
            return list(cast(list[object], thing))
        case Struct():
            return [getattr(thing, name) for name in thing.__struct_fields__]
        case MethodType():
            return [thing.__self__]
        case partial():
            return [thing.args, thing.keywords]
        case _:
            slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
            named = [getattr(thing, name) for name in slots if hasattr(thing, name)]
            return [*named, *getattr(thing, "__dict__", {}).values()]
