"""The stages of a pipeline, and what may be made one: a machine, an operator or a plain function.

How the three are told apart, in this order:

1. An Observable, or one machine that exists already, is refused: its state would be
   one for all subscriptions.
2. What needs no argument makes machines: a class, or a function such as
   `lambda: ContentFilter(words)`. It is called once to see that it does.
3. What takes one argument is told by the annotation of that: an `Observable` makes it an
   operator, a token a function, and anything else is refused.
4. Without an annotation it is called once, with an empty Observable. Whoever
   subscribes to that, pipes it on, or makes another Observable of it is an operator. Who
   can't use it, or gives anything else back, is a function. (One that gives it back as it
   is does, as either, the same.) To spare a function that call, annotate it.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast, get_args

from msgspec import Struct
from reactivex import Observable

from rxstream.machine import Machine
from rxstream.rx import lift
from rxstream.tokens import StreamToken

Operator: TypeAlias = Callable[[Observable[StreamToken]], Observable[StreamToken]]
Function: TypeAlias = Callable[[StreamToken], StreamToken | list[StreamToken] | None]
"""One token in; one, several or none out."""
Transformer: TypeAlias = Callable[[], Machine[StreamToken, StreamToken]] | Operator | Function


class Stage(Struct, frozen=True):
    """One operator of a pipeline, and what it is called."""

    name: str
    apply: Operator

    def __str__(self) -> str:
        return self.name


def stage_of(transformer: object, name: str | None = None) -> Stage:
    """Return the stage that `transformer` makes; raise `TypeError`, saying what to do, if it can't be one."""
    called = name or name_of(transformer)
    if isinstance(transformer, Observable):
        raise TypeError("an Observable is a source, not a transformer: give it to process()")
    if _is_machine(transformer) and not isinstance(transformer, type):
        raise TypeError(
            f"this one {type(transformer).__name__} would be shared by all subscriptions: "
            f"give what makes one, such as lambda: {type(transformer).__name__}(...)"
        )
    if not callable(transformer):
        raise TypeError(f"a value of {type(transformer).__name__} is no machine class, operator or function")
    if inspect.iscoroutinefunction(transformer):
        raise TypeError(f"it has to be awaited: give map_async({called})")
    signature = _signature_of(transformer)
    wanted = [parameter for parameter in signature.parameters.values() if _is_needed(parameter)]
    if not wanted and not isinstance(transformer, type):  # `*items` takes one as well
        wanted = [one for one in signature.parameters.values() if one.kind is one.VAR_POSITIONAL]
    if isinstance(transformer, type) or not wanted:
        return Stage(called, lift(_factory(transformer, wanted)))
    if len(wanted) > 1:
        raise TypeError(f"it takes {len(wanted)} arguments, where an operator or a function takes one")
    if _is_operator(transformer, wanted[0]):
        return Stage(called, cast(Operator, transformer))
    function = cast(Function, transformer)
    return Stage(called, lift(lambda: _Applied(function)))


class _Applied:
    """A function as a machine; it keeps nothing."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def feed(self, token: StreamToken) -> list[StreamToken]:
        made = self._function(token)
        if isinstance(made, list):
            return made
        return [] if made is None else [made]

    def flush(self) -> list[StreamToken]:
        return []


def _is_machine(thing: object) -> bool:
    return callable(getattr(thing, "feed", None)) and callable(getattr(thing, "flush", None))


def _is_needed(parameter: inspect.Parameter) -> bool:
    is_variable = parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    return parameter.default is parameter.empty and not is_variable


def _signature_of(transformer: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(transformer, eval_str=True)
    except ValueError:  # some of what is written in C does not say
        raise TypeError("it does not say what arguments it takes: wrap it in a function") from None
    except (
        NameError,
        AttributeError,
        SyntaxError,
        TypeError,
    ):  # an annotation means nothing here; its words do
        return inspect.signature(transformer)


def _factory(make: Callable[..., Any], wanted: list[inspect.Parameter]) -> Callable[[], Machine[Any, Any]]:
    """Return `make`, after a look at what it makes."""
    name = name_of(make)
    if wanted:
        arguments = ", ".join(parameter.name for parameter in wanted)
        raise TypeError(f"it needs {arguments}: give lambda: {name}({arguments})")
    try:
        made = make() if not isinstance(make, type) or _is_machine(make) else None
    except Exception as error:  # of whatever kind: it would come again with every subscription
        raise TypeError(f"to make one raised {type(error).__name__} ({error})") from error
    if isinstance(made, Observable) or (callable(made) and not _is_machine(made)):
        raise TypeError(f"it makes an operator, and is none: give {name}()")
    if not _is_machine(made):
        raise TypeError("what it makes is no machine: that has feed(item) and flush()")
    return make


def _is_operator(transformer: Callable[..., Any], parameter: inspect.Parameter) -> bool:
    if (known := _says_observable(parameter.annotation)) is not None:
        return known
    asked = _Asked()
    try:
        made = transformer(asked)
    except Exception:  # of whatever kind: only what it did with the Observable counts
        return asked.was_used
    return asked.was_used or (isinstance(made, Observable) and made is not asked)


def _says_observable(annotation: object) -> bool | None:
    """Whether an annotation, evaluated or not, is of an Observable and not of a token; `None` if it is of anything."""
    if annotation in (inspect.Parameter.empty, Any, object, "Any", "object") or isinstance(annotation, TypeVar):
        return None
    words = set(_WORD.findall(annotation if isinstance(annotation, str) else repr(annotation)))
    if words & {"Observable", "ObservableBase"}:
        return True
    if words & _TOKEN_NAMES:
        return False
    raise TypeError(f"it takes a {inspect.formatannotation(annotation)}, which is neither an Observable nor a token")


_WORD = re.compile(r"\w+")
_TOKEN_NAMES = {"StreamToken", *(token.__name__ for token in get_args(StreamToken))}


class _Asked(Observable[Any]):
    """An Observable of nothing that takes note whether anybody uses it as one."""

    def __init__(self) -> None:
        super().__init__()
        self.was_used = False

    def __getattribute__(self, name: str) -> Any:
        if name in {"pipe", "subscribe"}:
            self.was_used = True
        return super().__getattribute__(name)


def name_of(thing: object) -> str:
    """Return what to call a transformer: the class or function that a person wrote, not the closure in it."""
    thing = getattr(thing, "func", thing)  # of a partial
    if isinstance(thing, Observable):
        return "Observable"
    if (named_after := _NAMED_AFTER.get(getattr(thing, "__module__", None) or "")) is not None:
        inner = _closure_of(thing).get(named_after)
        if callable(inner):
            return name_of(inner).strip("_")
    qualified: str = getattr(thing, "__qualname__", type(thing).__qualname__)
    return qualified.partition(".<locals>")[0].rpartition(".")[2].strip("<>")


_NAMED_AFTER = {"rxstream.rx": "make", "reactivex.internal.curry": "fun"}
"""Where closures are made that are called after something in them, and what that is called there."""


def _closure_of(thing: object) -> dict[str, Any]:
    """The variables that a function has from around it."""
    code, cells = getattr(thing, "__code__", None), getattr(thing, "__closure__", None)
    return {name: cell.cell_contents for name, cell in zip(code.co_freevars if code else (), cells or (), strict=True)}
