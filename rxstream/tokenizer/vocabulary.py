"""What to count with: an exact encoding where there is one, an estimate where not, and which of the two it is."""

import warnings
from dataclasses import dataclass

from rxstream.errors import ConfigurationError
from rxstream.tokenizer.encodings import FILES, PROVIDERS, Encoding, encoding_name, find_encoding


class EstimateWarning(UserWarning):
    """Tokens are estimated, since the encoding asked for is not on this machine. Given once for each encoding."""


@dataclass(frozen=True)
class Vocabulary:
    """How text is counted."""

    name: str | None
    """The encoding that was meant; `None` if nobody knows one."""
    encoding: Encoding | None
    """What counts; `None` for an estimate of a quarter of the UTF-8 bytes."""
    is_exact: bool
    """Whether counts are those of the model's own encoding, rather than of a likely one or an estimate."""


_warned: set[str] = set()


def vocabulary(
    encoding: "Vocabulary | Encoding | str | None" = None, *, model: str | None = None, provider: str | None = None
) -> Vocabulary:
    """Return what to count with; nothing is ever downloaded for it.

    `encoding` is an encoding, or the name of one; else `model` names it, by tiktoken's
    tables; else `provider` (a dialect's name, such as `openai.chat`) gives the likeliest,
    whose counts are not called exact. If it is not on this machine, or nothing is
    known, counts are estimates; the first of the two warns, once for each encoding.

    An encoding of another name than tiktoken's is not called exact, since nobody
    knows how it splits text: see `TokenCounter`. Loading takes up to about a second,
    the first time. Raises `ConfigurationError` for a name that there is not.
    """
    if isinstance(encoding, Vocabulary):
        return encoding
    if encoding is not None and not isinstance(encoding, str):
        return Vocabulary(encoding.name, encoding, is_exact=encoding.name in FILES)
    name = encoding or (model and encoding_name(model)) or None
    likely = PROVIDERS.get(provider.partition(".")[0]) if provider and not name else None
    wanted = name or likely
    if wanted is None:
        return Vocabulary(None, None, is_exact=False)
    found = find_encoding(wanted)
    if found is None and wanted not in _warned:
        _warned.add(wanted)
        warnings.warn(
            f"tokens are estimated: {wanted} is not in tiktoken's cache (`rxstream tokens fetch {wanted}` fills it)",
            EstimateWarning,
            stacklevel=2,
        )
    return Vocabulary(wanted, found, is_exact=found is not None and name is not None)


def required_encoding(encoding: Encoding | str) -> Encoding:
    """Return an encoding, by itself or by name; raise `ConfigurationError` if it is not on this machine."""
    if not isinstance(encoding, str):
        return encoding
    name = encoding_name(encoding)
    if name is None:
        raise ConfigurationError(f"there is no encoding or model {encoding!r}; encodings are {', '.join(FILES)}")
    found = find_encoding(name)
    if found is None:
        raise ConfigurationError(f"{name} is not in tiktoken's cache; `rxstream tokens fetch {name}` fills it")
    return found
