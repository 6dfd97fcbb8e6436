"""JSON that is still being written: the value grows with each piece of text.

`JsonGrower` reads each character once and remembers where it is: it never starts
again from the front. What it has of a value is always a beginning of the whole:

- a string is there as far as it has come, without half an escape or half a UTF-16 pair;
- a number, `true`, `false` or `null` is there once the character after it has come, or
  the end: `12` may become `123`;
- a member of an object is there once its value has begun.

Strict JSON (RFC 8259) but for two things: control characters in strings are taken as
they are, since models write them, and a lone half of a UTF-16 pair becomes U+FFFD, as
everywhere here. The last of several equal names wins, once its value begins.
"""

import re
from typing import TypeAlias, cast

from rxstream.framing.tolerant_json import integer
from rxstream.surrogates import mend_text
from rxstream.tokens import Json

MAX_DEPTH = 200
"""The deepest nesting of arrays and objects; deeper is taken for no JSON."""
MAX_CHARACTERS = 16 * 1024 * 1024
"""The longest text of one value; for selected elements, of one element. Seen to at the end of each piece."""

ElementPath: TypeAlias = tuple[str | int | None, ...]
"""Where an array is: names of members and places in arrays; `None` is any place."""

_RUN = re.compile(r"[-+.0-9A-Za-z]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_PLAIN = re.compile(r'[^"\\]*')
_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4}))')
_ESCAPE_BEGUN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_BRACKET = re.compile(r"[\[{]")
_ESCAPED = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LITERALS: dict[str, Json] = {"true": True, "false": False, "null": None}


# What comes next. Plain numbers: looking up a member of an `Enum` would cost more than what is done about it.
_START = 0  # the outermost value
_VALUE = 1
_FIRST_ITEM = 2  # a value or ]
_FIRST_NAME = 3  # a name or }
_NAME = 4
_COLON = 5
_COMMA = 6  # or the closing bracket
_STRING = 7  # more of a string
_SCALAR = 8  # more of a number or word
_NOTHING = 9  # nothing any more


class _Malformed(Exception):  # noqa: N818  # it never leaves this file
    """The text is no JSON, from `at` on."""

    def __init__(self, at: int) -> None:
        self.at = at


class JsonGrower:
    """Pieces of the text of one JSON value in, a growing value out.

    With `embedded` the value is an array or object somewhere within other text: what
    comes before its first bracket is skipped. `elements_of` names an array: its
    elements are handed out by `take_elements` once they are whole, and nothing else is
    kept, so that memory is that of one element.
    """

    def __init__(
        self,
        *,
        embedded: bool = False,
        elements_of: ElementPath | None = None,
        max_depth: int = MAX_DEPTH,
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        self.has_begun = False
        """Whether the first character of the value has come."""
        self.is_complete = False
        """Whether the value has come to its end."""
        self.is_malformed = False
        """Whether the text turned out to be no JSON, or too large; nothing is read after that."""
        self._embedded = embedded
        self._elements_of = elements_of
        self._elements: list[Json] = []
        self._element_depth: int | None = None  # how many containers are around the element that is being read
        self._max_depth = max_depth
        self._max_characters = max_characters
        self._length = 0  # of the text so far, or since the last element
        self._expects = _START
        self._value: Json = None
        self._containers: list[list[Json] | dict[str, Json]] = []
        self._path: list[str | int] = []  # where in each container the value that was begun last is
        self._name = ""  # of the member whose value comes next
        self._pieces: list[str] = []  # of the string, number or word that is being read
        self._is_name = False  # whether the string that is being read is the name of a member
        self._held = ""  # a part of an escape
        self._half = ""  # the first half of a UTF-16 pair, while the second may follow

    @property
    def path(self) -> tuple[str | int, ...]:
        """Where the last change was: names of members and places in arrays, from the outside in."""
        return tuple(self._path)

    @property
    def value(self) -> Json:
        """The value so far: the very lists and dicts that go on growing. Takes time by the string that is open."""
        if self._expects == _STRING and not self._is_name:
            self._pieces = ["".join(self._pieces)]
            self._put(self._pieces[0])
        return self._value

    def take_elements(self) -> list[Json]:
        """Return the elements completed since the last time."""
        elements, self._elements = self._elements, []
        return elements

    def feed(self, text: str, start: int = 0) -> tuple[int, bool]:
        """Read on in `text` from `start`; return where reading stopped, and whether the value changed.

        It stops at the end of `text`, behind the end of the value, or where the text is no JSON.
        """
        if self.is_complete or self.is_malformed:
            return start, False
        if (
            self._expects == _STRING
            and not (start or self._held or self._half)
            and '"' not in text
            and "\\" not in text
        ):  # the usual case
            self._pieces.append(text)
            return self._count(len(text)), not (self._is_name or not text)
        at, has_changed = start, False
        try:
            while at < len(text) and not self.is_complete:
                at, changes = self._step(text, at)
                has_changed = has_changed or changes
        except _Malformed as error:
            self.is_malformed = True
            at = error.at
        self._count(at - start)
        return at, has_changed

    def finish(self) -> bool:
        """Say that no more text comes; return whether that completed the value: a number by itself does not end."""
        if self._expects != _SCALAR or self._containers or self.is_malformed:
            return False
        try:
            self._end_scalar(0)
        except _Malformed:
            self.is_malformed = True
        return self.is_complete

    def _count(self, length: int) -> int:
        self._length += length
        if self._length > self._max_characters:
            self.is_malformed = True
        return length

    def _step(self, text: str, at: int) -> tuple[int, bool]:
        """Read on from `at`: to the end of what is being read, of white space, or one sign."""
        expects = self._expects
        if expects == _STRING:
            return self._read_escape(text, at) if self._held else self._read_string(text, at)
        if expects == _SCALAR:
            return self._read_scalar(text, at)
        sign = text[at]
        if expects == _START and self._embedded:
            found = _BRACKET.search(text, at)
            skipped = len(text) if found is None else found.start()
            self._length -= skipped - at  # it is no part of the value
            if found is None:
                return skipped, False
            at = skipped
            sign = text[at]
        elif sign in " \n\r\t":
            return at + 1, False
        return at + 1, self._read_sign(sign, expects, at)

    def _read_sign(self, sign: str, expects: int, at: int) -> bool:
        """Read one character that is neither white space nor inside a string or number."""
        if expects <= _FIRST_ITEM and sign != "]":
            return self._begin(sign, at)
        if sign == '"' and expects in {_NAME, _FIRST_NAME}:
            self._expects, self._is_name = _STRING, True
        elif sign == ":" and expects == _COLON:
            self._expects = _VALUE
        elif sign == "," and expects == _COMMA:
            self._expects = _VALUE if isinstance(self._containers[-1], list) else _NAME
        elif sign in "]}" and expects in {_COMMA, _FIRST_ITEM, _FIRST_NAME}:
            return self._close(sign, at)
        else:
            raise _Malformed(at)
        return False

    def _begin(self, sign: str, at: int) -> bool:
        """Begin the value whose first character is `sign`."""
        self.has_begun = True
        if sign in "[{":
            container: list[Json] | dict[str, Json] = [] if sign == "[" else {}
            if len(self._containers) >= self._max_depth:
                raise _Malformed(at)
            self._add(container)
            self._containers.append(container)
            self._expects = _FIRST_ITEM if sign == "[" else _FIRST_NAME
            return True
        if sign == '"':
            self._add("")
            self._expects, self._is_name = _STRING, False
            return True
        if not _RUN.fullmatch(sign):
            raise _Malformed(at)
        self._pieces.append(sign)
        self._expects = _SCALAR
        return False

    def _add(self, value: Json) -> None:
        """Put the beginning of a value where it belongs, and remember where that is."""
        if not self._containers:
            self._value = value
            return
        container = self._containers[-1]
        is_first = len(self._path) < len(self._containers)
        if isinstance(container, list):
            container.append(value)
            place = 0 if is_first else cast(int, self._path[-1]) + 1
        else:
            container[self._name] = value
            place = self._name
        self._path[len(self._containers) - 1 :] = [place]
        if self._elements_of is not None and self._element_depth is None:
            self._find_element(self._elements_of)

    def _put(self, value: Json) -> None:
        """Put more of the value that was begun last in its place."""
        if not self._containers:
            self._value = value
        elif isinstance(container := self._containers[-1], list):
            container[-1] = value
        else:
            container[cast(str, self._path[-1])] = value

    def _close(self, sign: str, at: int) -> bool:
        container = self._containers[-1]
        if isinstance(container, list) is not (sign == "]"):
            raise _Malformed(at)
        self._containers.pop()
        del self._path[len(self._containers) :]
        return self._complete(container)

    def _complete(self, value: Json) -> bool:
        """After the end of `value`; return whether that is a change to be told of."""
        depth = len(self._containers)
        self.is_complete = not depth
        self._expects = _COMMA if depth else _NOTHING
        if self._elements_of is not None:
            if self._element_depth == depth:
                self._elements.append(value)
                self._element_depth = None
                self._length = 0
            if self._element_depth is None and depth:
                self._containers[-1].clear()  # it is no part of an element
            if not depth:
                self._value = None
        return self.is_complete

    def _find_element(self, wanted: ElementPath) -> None:
        """Take note if the value that begins is an element to be handed out."""
        if (
            len(self._path) == len(wanted) + 1
            and isinstance(self._containers[-1], list)
            and all(
                step == place or (step is None and isinstance(place, int))
                for step, place in zip(wanted, self._path, strict=False)
            )
        ):
            self._element_depth = len(self._containers)

    def _read_string(self, text: str, at: int) -> tuple[int, bool]:
        has_changed = bool(self._half) and text[at] != "\\" and self._add_characters("")
        plain = _PLAIN.match(text, at)
        assert plain is not None
        end = plain.end()
        if end > at:
            self._pieces.append(plain[0])
            has_changed = not self._is_name
        if end == len(text):
            return end, has_changed
        if text[end] == "\\":
            self._held = "\\"
            return end + 1, has_changed
        return end + 1, self._end_string() or has_changed

    def _read_escape(self, text: str, at: int) -> tuple[int, bool]:
        escape = self._held + text[at : at + 5]
        whole = _ESCAPE.match(escape)
        if whole is None:
            if len(escape) < 6 and _ESCAPE_BEGUN.fullmatch(escape):
                self._held = escape
                return len(text), False
            raise _Malformed(at)
        at += whole.end() - len(self._held)
        self._held = ""
        sign, code = whole.groups()
        return at, self._add_characters(_ESCAPED[sign] if sign else chr(int(code, 16)))

    def _add_characters(self, character: str) -> bool:
        """Add what an escape stands for, or nothing; return whether that changed the value.

        The first half of a pair waits for what comes after it.
        """
        ready, self._half = self._half + character, ""
        if "\ud800" <= character <= "\udbff":
            ready, self._half = ready[:-1], character
        if ready:
            self._pieces.append(mend_text(ready))
        return bool(ready) and not self._is_name

    def _end_string(self) -> bool:
        string = "".join(self._pieces)
        self._pieces.clear()
        if self._is_name:
            self._name = string
            self._expects = _COLON
            return False
        self._put(string)
        return self._complete(string)

    def _read_scalar(self, text: str, at: int) -> tuple[int, bool]:
        run = _RUN.match(text, at)
        assert run is not None
        self._pieces.append(run[0])
        if run.end() == len(text):
            return run.end(), False
        self._end_scalar(run.end())
        return run.end(), True

    def _end_scalar(self, at: int) -> None:
        """Add the number or word that has come to its end at `at`."""
        word = "".join(self._pieces)
        self._pieces.clear()
        if word in _LITERALS:
            value = _LITERALS[word]
        elif number := _NUMBER.fullmatch(word):
            value = float(word) if any(number.groups()) else integer(word)
        else:
            raise _Malformed(at)
        self._add(value)
        self._complete(value)
