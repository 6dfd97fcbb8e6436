"""Addresses, credentials and card numbers that must not be shown."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Literal, TypeAlias, get_args

from reactivex import Observable

from rxstream.operators._matching import BlockFilter, Folding, PlacedPattern, Rules
from rxstream.rx import lift
from rxstream.tokens import StreamToken

Secret: TypeAlias = Literal[
    "anthropic_key",
    "aws_key",
    "bearer_token",
    "card_number",
    "email",
    "github_token",
    "google_key",
    "openai_key",
    "private_key",
]
SECRETS: tuple[Secret, ...] = get_args(Secret)
"""All that `redact` knows."""

_LONGEST = 16_384  # a private key of 16,384 bits has some 13,000 characters

_BEFORE, _AFTER = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_MAILBOX = r"(?<![A-Za-z0-9_])[A-Za-z0-9_][A-Za-z0-9_.+%&'-]{0,63}+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_CARD = r"(?<!\d)(?<!\d[.,-])[2-6]"
_LINE_END = r"(?:\r?\n|(?:\\r)?\\n)[ \t]{0,32}+"  # the second as JSON and most languages write it
_KIND_OF_KEY = r"(?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?"

_PATTERNS: dict[Secret, str] = {
    "anthropic_key": _BEFORE + r"sk-ant-[A-Za-z0-9_-]{16,256}+",
    "aws_key": _BEFORE + r"A(?:KIA|SIA)[A-Z0-9]{16}" + _AFTER,
    # What follows the word is RFC 6750's b64token.
    "bearer_token": _BEFORE + r"[Bb]earer[ \t]{1,4}+[A-Za-z0-9._~+/-]{16,4096}+={0,2}",
    # Card schemes use these first digits; times in milliseconds begin with 1.
    "card_number": _CARD + r"\d{3}(?:[ -]?\d){9,15}(?!\d)",
    # The sizes are those of RFC 5321 and RFC 1035.
    "email": _MAILBOX + rf"@(?:{_LABEL}\.){{1,8}}[A-Za-z]{{2,24}}" + _AFTER,
    "github_token": _BEFORE + r"(?:gh[pousr]_[A-Za-z0-9]{36,255}+|github_pat_[A-Za-z0-9_]{22,255}+)",
    "google_key": _BEFORE + r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",
    "openai_key": _BEFORE + r"sk-(?!ant-)[A-Za-z0-9_-]{20,256}+",
    # Without its end, too: a block that is cut off shows most of its key.
    "private_key": rf"-----BEGIN {_KIND_OF_KEY}-----{_LINE_END}"
    rf"(?:[A-Za-z-]{{1,40}}+:[^\r\n\\]{{0,200}}+{_LINE_END}){{0,8}}+"
    rf"(?:[A-Za-z0-9+/=]{{1,128}}+|{_LINE_END}){{0,512}}+(?:-----END {_KIND_OF_KEY}-----)?",
}


def _or_end(*parts: str) -> str:
    """The pattern of `parts` one after the other, or as many of them as come before the end of the text."""
    *before, pattern = parts
    for part in reversed(before):
        pattern = rf"{part}(?:{pattern}|\Z)"
    return pattern


_BEGINS: dict[Secret, str] = {
    "anthropic_key": _BEFORE + _or_end(*"sk-"),
    "aws_key": _BEFORE + _or_end("A", "[KS]", "I", "A"),
    "bearer_token": _BEFORE + _or_end("[Bb]", *"earer"),
    "card_number": _CARD + _or_end("", r"\d", r"\d", r"\d"),
    "email": _MAILBOX + r"(?:@|\Z)",
    "github_token": _BEFORE + _or_end("g", "(?:h|it)", "[pousrh]", "[_u]"),
    "google_key": _BEFORE + _or_end(*"AIza"),
    "openai_key": _BEFORE + _or_end(*"sk-"),
    "private_key": _or_end(*"-----BEGIN"),
}
"""What the matches of each pattern begin with: a simpler pattern, which most text is soon known not to match."""


def redact(
    secrets: Collection[Secret] = SECRETS,
    *,
    mask: str = "[{kind}]",
    reasoning: bool = True,
    tool_arguments: bool = False,
    counts: Counter[str] | None = None,
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """Mask e-mail addresses, credentials and card numbers, even where several deltas share one of them.

    `secrets` says which: e-mail addresses, API keys of OpenAI, Anthropic, AWS and Google, GitHub's tokens,
    bearer tokens (with the word before them), blocks of private keys in PEM, and card numbers
    whose check digit is right. They are known by their looks: what merely looks like one is masked, too, and
    a key of another make is not. `{kind}` in `mask` becomes the word for it in `secrets`.

    What is held back is what `content_filter` would hold: any word, since it may still become an address, until
    the next character that can be in none. A block of a key is held until it ends, at most 16,384
    characters. Thinking is included; where a secret is found in it, a service that signs
    thinking refuses to have it back. `tool_arguments` includes the arguments of calls, as
    the JSON text that they are, so that a tool is called with the mask.

    `counts` is added to: how often each kind was found. Raises `ValueError` for a kind that is unknown.
    """
    rules = _rules(secrets)
    return lift(lambda: Redactor(rules, mask=mask, reasoning=reasoning, tool_arguments=tool_arguments, counts=counts))


class Redactor(BlockFilter):
    """Tokens in, tokens out, without what is secret; the options are those of `redact`."""

    def __init__(
        self,
        secrets: Collection[Secret] | Rules = SECRETS,
        *,
        mask: str = "[{kind}]",
        reasoning: bool = True,
        tool_arguments: bool = False,
        counts: Counter[str] | None = None,
    ) -> None:
        rules = secrets if isinstance(secrets, Rules) else _rules(secrets)
        super().__init__(rules, reasoning=reasoning, tool_arguments=tool_arguments, counts=counts)
        self._mask = mask

    def _replace(self, found: str, rule: str) -> str:  # noqa: ARG002  # what was found is what nobody may see
        return self._mask.replace("{kind}", rule)


def _rules(secrets: Collection[Secret]) -> Rules:
    chosen = sorted(set(secrets))
    if unknown := [kind for kind in chosen if kind not in _PATTERNS]:
        raise ValueError(f"known are {', '.join(SECRETS)}, not {', '.join(unknown)}")
    if not chosen:
        return Rules([], Folding())
    pattern = PlacedPattern(
        "|".join(f"(?P<{kind}>{_PATTERNS[kind]})" for kind in chosen),
        _LONGEST,
        "|".join(dict.fromkeys(_BEGINS[kind] for kind in chosen)),
        measure=_measure,
    )
    return Rules([pattern], Folding(), looks_back=2)  # no look-behind above is longer


def _measure(found: str, kind: str) -> int:
    """How much of what was found is a secret, from its start."""
    return _card_length(found) if kind == "card_number" else len(found)


def _card_length(found: str) -> int:
    """The length of the longest card number that `found` begins with, 0 if there is none."""
    ends = [at + 1 for at, character in enumerate(found) if character not in " -"]
    digits = [int(found[end - 1]) for end in ends]
    for count in range(len(digits), 12, -1):
        is_whole = count == len(digits) or ends[count] > ends[count - 1] + 1  # no digit follows at once
        if is_whole and _is_checked(digits[:count]):
            return ends[count - 1]
    return 0


def _is_checked(digits: list[int]) -> bool:
    """Whether the last digit is the check digit of the others (Luhn, ISO/IEC 7812)."""
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0
