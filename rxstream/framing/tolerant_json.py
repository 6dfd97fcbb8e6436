"""JSON as servers send it: read strictly first, tolerantly if that fails.

The strict reading is one typed msgspec decode, which is what nearly every frame
needs. What it refuses is read a second time by Python's own `json`, which takes
what some servers send all the same: lone halves of a UTF-16 pair (they stay lone
halves of one, for whoever joins deltas), `NaN` and `Infinity`, control
characters inside strings, integers of any length; bytes that are no UTF-8 become
U+FFFD. The value is then bent to the declared type where nothing is lost that
matters: a `null` where none is allowed counts as a missing field, a float where
an integer is declared is rounded. The last of several equal keys wins, both times.

Whatever is still impossible is a `ProtocolError`. It says where and what was
expected, never what was there: that is user text, so the errors of the two
libraries, which quote it, are not chained.
"""

import json
import math
import re
from collections.abc import Callable, Hashable
from functools import cached_property, lru_cache
from types import UnionType
from typing import Any, Generic, TypeVar, cast, overload

import msgspec
from msgspec import inspect

from rxstream.errors import ProtocolError
from rxstream.tokens import Json

T = TypeVar("T")

_MAYBE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SAFE_TO_QUOTE = re.compile(r"Expected `[^`]*`(, got `[^`]*`)?|Object missing required field `[^`]*`")
_PLACE = re.compile(r" - at `\$[^`]*`$")


class JsonReader(Generic[T]):
    """Reads JSON of one type; made once, used for every frame.

    A union is written twice, `JsonReader[A | B](A | B)`, since it is no `type` to a type checker.
    """

    def __init__(self, type_: type[T] | UnionType) -> None:
        self._type = cast(type[T], type_)
        self._decode: Callable[[bytes], T] = msgspec.json.Decoder(self._type).decode
        self.has_surrogates = False
        """Whether any value so far held a lone half of a UTF-16 pair."""

    def read(self, data: bytes) -> T:
        """Return the value of `data`; raise `ProtocolError` if it is not JSON or not of this type."""
        try:
            return self._decode(data)
        except (ValueError, RecursionError):  # every error of msgspec is a ValueError, and so is UnicodeDecodeError
            return self._read_tolerantly(data)

    def _read_tolerantly(self, data: bytes) -> T:
        try:
            value = json.loads(data.decode("utf-8", "replace"), parse_int=integer, strict=False)
            if _MAYBE_SURROGATE.search(data) and not _is_encodable(value):
                self.has_surrogates = True
            return msgspec.convert(_bent(value, self._shape), self._type, strict=False)
        except json.JSONDecodeError as error:
            problem = f"not JSON: {error.msg} at character {error.pos} of {len(error.doc)}"
        except RecursionError:
            problem = "JSON nested too deeply"
        except ValueError as error:  # a ValidationError, or a UnicodeEncodeError where a lone half meets a known word
            problem = f"JSON that is no {_name(self._type)}: {_without_content(error)}"
        raise ProtocolError(problem) from None

    @cached_property
    def _shape(self) -> inspect.Type:
        return inspect.type_info(self._type)


@overload
def read_json(data: bytes) -> Json: ...
@overload
def read_json(data: bytes, type_: type[T]) -> T: ...
def read_json(data: bytes, type_: Any = Any) -> Any:
    """Return the value of `data` as `type_`; raise `ProtocolError` if it is not JSON or not of that type."""
    return _reader(type_).read(data)


def is_json(data: bytes) -> bool:
    """Whether `read_json` can read `data`."""
    try:
        read_json(data)
    except ProtocolError:
        return False
    return True


def integer(digits: str) -> int | float:
    """Return the number that JSON writes as `digits`; an infinity if they are more than Python reads."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


@lru_cache(maxsize=64)
def _reader(type_: Hashable) -> JsonReader[Any]:
    return JsonReader(cast(type[Any], type_))


def _is_encodable(value: Json) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(type_: Any) -> str:
    return getattr(type_, "__name__", "value of the expected type")


def _without_content(error: Exception) -> str:
    """What `error` says, without what it quotes from the data."""
    message = str(error) if isinstance(error, msgspec.ValidationError) else ""
    said = _SAFE_TO_QUOTE.match(message)
    place = _PLACE.search(message)
    return (said[0] if said else "an unknown word") + (place[0] if place else "")


def _bent(value: Json, shape: inspect.Type) -> Json:
    """Return `value` nearer to `shape`; what can't be bent stays as it is, for the conversion to refuse."""
    match shape:
        case inspect.StructType(array_like=False) if isinstance(value, dict):
            return _bent_members(cast(dict[str, Json], value), shape)
        case inspect.DictType(value_type=inner) if isinstance(value, dict):
            return {key: _bent(member, inner) for key, member in cast(dict[str, Json], value).items()}
        case inspect.ListType(item_type=inner) if isinstance(value, list):
            bent = [_bent(item, inner) for item in cast(list[Json], value)]
            return bent if _admits(inner, inspect.NoneType) else [item for item in bent if item is not None]
        case inspect.UnionType(types=shapes):
            return next((_bent(value, one) for one in shapes if _suits(value, one, shapes)), value)
        case inspect.IntType() if isinstance(value, float):
            return round(value) if math.isfinite(value) else None
        case inspect.RawType():
            return msgspec.Raw(json.dumps(value).encode())
        case _:
            return value


def _bent_members(members: dict[str, Json], shape: inspect.StructType) -> dict[str, Json]:
    """The members that `shape` declares, without those that are `null` and had better be missing."""
    bent: dict[str, Json] = {}
    if shape.tag_field in members:
        bent[shape.tag_field] = members[shape.tag_field]
    for field in shape.fields:
        if field.encode_name in members:
            member = _bent(members[field.encode_name], field.type)
            if member is not None or field.required or _admits(field.type, inspect.NoneType):
                bent[field.encode_name] = member
    return bent


def _admits(shape: inspect.Type, kind: type[inspect.Type]) -> bool:
    """Whether a value of `kind` is a value of `shape`."""
    shapes = shape.types if isinstance(shape, inspect.UnionType) else (shape,)
    return any(isinstance(one, (kind, inspect.AnyType)) for one in shapes)


def _suits(value: Json, shape: inspect.Type, shapes: tuple[inspect.Type, ...]) -> bool:
    """Whether `value` is to be bent to `shape` rather than to another one of `shapes`."""
    match shape:
        case inspect.StructType(tag_field=str(tag_field), tag=tag):
            return isinstance(value, dict) and cast(dict[str, Json], value).get(tag_field) == tag
        case inspect.StructType() | inspect.DictType():
            return isinstance(value, dict)
        case inspect.ListType():
            return isinstance(value, list)
        case inspect.IntType():
            return isinstance(value, float) and not any(isinstance(one, inspect.FloatType) for one in shapes)
        case _:
            return False
