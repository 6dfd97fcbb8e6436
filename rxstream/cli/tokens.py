"""`rxstream tokens`: the vocabularies that exact counts need, and the count of a text."""

import argparse
import asyncio
import os
import sys
import warnings
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

import aiohttp

from rxstream.errors import ConfigurationError, ProtocolError, TransportError
from rxstream.tokenizer import (
    FILES,
    ORIGIN,
    EstimateWarning,
    TokenCounter,
    VocabularyFile,
    encoding_name,
    files_of,
    vocabulary,
)

NAME = "tokens"
SUMMARY = "fetch vocabularies, count the tokens of a text"
DESCRIPTION = "Put the vocabularies of tiktoken's encodings into its cache, or count the tokens of a text with them."
EPILOG = "example: rxstream tokens fetch gpt-5 && rxstream tokens count --model gpt-5 README.md"

READ_SIZE = 65_536
LARGEST = 64 * 1024 * 1024
"""More bytes than any vocabulary has."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    fetch = actions.add_parser("fetch", help="put vocabularies into tiktoken's cache")
    fetch.add_argument("names", nargs="+", metavar="NAME", help="a model, or one of: " + ", ".join(FILES))
    fetch.add_argument("--from", dest="origin", default=ORIGIN, metavar="URL", help="a mirror (default: %(default)s)")
    fetch.add_argument("--timeout", type=_positive, default=60.0, metavar="S", help="seconds for each file")
    fetch.set_defaults(act=_fetch)
    count = actions.add_parser("count", help="count the tokens of a text")
    chosen = count.add_mutually_exclusive_group()
    chosen.add_argument("--model", metavar="M", help="the model that reads the text (default: gpt-5)")
    chosen.add_argument("--encoding", choices=FILES, metavar="NAME", help="one of: " + ", ".join(FILES))
    count.add_argument("file", nargs="?", type=Path, metavar="FILE", help="UTF-8; standard input if not given")
    count.set_defaults(act=_count)


def run(options: argparse.Namespace) -> int:
    """Do what `options` say; return the exit status."""
    act: Callable[[argparse.Namespace], int] = options.act
    return act(options)


def _fetch(options: argparse.Namespace) -> int:
    names = [_encoding_of(name) for name in options.names]
    asyncio.run(_fetch_all(names, options.origin.rstrip("/"), options.timeout))
    return 0


def _encoding_of(name: str) -> str:
    found = encoding_name(name)
    if found is None:
        raise ConfigurationError(f"there is no encoding or model {name!r}; encodings are {', '.join(FILES)}")
    return found


async def _fetch_all(names: list[str], origin: str, seconds: float) -> None:
    timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, 10.0))
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
        for name in names:
            for file in files_of(name):
                if file.is_cached:
                    print(f"{name}: {file.path} is there already")
                else:
                    print(f"{name}: {file.store(await _downloaded(session, origin, file))}")


async def _downloaded(session: aiohttp.ClientSession, origin: str, file: VocabularyFile) -> bytes:
    try:
        async with session.get(origin + file.path) as response:
            if response.status != 200:
                raise TransportError(f"cannot fetch {file.path}", status=response.status)
            data = bytearray()
            async for chunk in response.content.iter_chunked(READ_SIZE):
                data += chunk
                if len(data) > LARGEST:
                    raise ProtocolError(f"what came is not {file.path}: it is larger than any vocabulary")
            return bytes(data)
    except TimeoutError as error:
        raise TransportError(f"cannot fetch {file.path}: nothing, or too little, came in time") from error
    except aiohttp.InvalidURL as error:
        raise ConfigurationError("the mirror's address is no URL") from error
    except (aiohttp.ClientError, OSError) as error:
        raise TransportError(f"cannot fetch {file.path}: {type(error).__name__}; is this machine online?") from error


def _count(options: argparse.Namespace) -> int:
    wanted = options.encoding or encoding_name(options.model or "gpt-5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimateWarning)  # said below, in the words of the command line
        counter = TokenCounter(vocabulary(wanted))
    with _opened(options.file) as source:
        while piece := source.read(READ_SIZE):
            counter.feed(piece)
    print(counter.count)
    if counter.vocabulary.encoding is None:
        known = (
            f"`rxstream tokens fetch {wanted}` makes it exact" if wanted else f"nobody knows {options.model}'s encoding"
        )
        print(f"an estimate, a quarter of the bytes: {known}", file=sys.stderr)
    elif not counter.is_exact:
        print("not quite exact: the text has very long stretches without spaces", file=sys.stderr)
    return 0


def _opened(file: Path | None) -> TextIOWrapper:
    """The text, with U+FFFD for what is no UTF-8, and its line ends as they are."""
    try:
        raw = file.open("rb") if file else os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    except OSError as error:
        raise ConfigurationError(f"cannot read {file or 'standard input'}: {error.strerror}") from error
    return TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="")


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be more than 0")
    return number
