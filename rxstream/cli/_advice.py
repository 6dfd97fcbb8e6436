"""What to do next about an error, in one line."""

import sys
from typing import Any

from rxstream.dialect import Dialect
from rxstream.dialects import dialect
from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    ContentBlockedError,
    DeadlineError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    StreamError,
    TransportError,
    TruncatedStreamError,
)


def explain(error: StreamError, *, who: str | None = None) -> None:
    """Say on standard error what went wrong, with whom, and what to do next."""
    print(f"rxstream: {who + ': ' if who else ''}{error}", file=sys.stderr)
    if step := next_step(error):
        print(f"  next: {step}", file=sys.stderr)


def next_step(error: StreamError) -> str | None:
    """Return what whoever sits at the terminal can do about `error`; `None` if its own words say it, or nobody can."""
    name = error.provider
    match error:
        case AuthenticationError():
            known = known_dialect(name)
            variable = known and known.key_variable
            return f"check the key in {variable}; `rxstream providers` shows which keys are found" if variable else None
        case PermissionDeniedError():
            return "the key is known but may not do this: look at its rights, and at the project it belongs to"
        case NotFoundError():
            return "check the name of the model, and --base-url if you gave one: it often ends in /v1"
        case QuotaExceededError():
            return "waiting does not help: the account needs credit, or ask another with -m"
        case RateLimitedError() | OverloadedError():
            wait = f"in {error.retry_after:g} s" if error.retry_after else "in a while"
            return f"ask again {wait}, or another model with -m"
        case ContentBlockedError():
            return "a filter of the service refused it: say it in other words"
        case DeadlineError():
            return "the service is slow or silent: ask again, or another model with -m"
        case TransportError():
            return _about_connection(name)
        case TruncatedStreamError():
            return "the answer may be incomplete: ask again"
        case _:
            return None


def _about_connection(name: str | None) -> str:
    if name == "ollama.native":
        return "is Ollama running? `ollama serve` starts it"
    known = known_dialect(name)
    variable = known and known.base_url_variable
    told = f", and {variable} if it is set" if variable else ""
    return f"is the server running, and this machine online? Look at --base-url{told}"


def known_dialect(name: str | None) -> Dialect[Any] | None:
    """Return the dialect of that name; `None` if its package is broken, or not installed here."""
    try:
        return dialect(name) if name else None
    except ConfigurationError:
        return None
