"""`rxstream decode`: a captured body to tokens, or to the message that they add up to."""

import argparse
import os
import sys
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import msgspec

from rxstream.dialects import dialect, dialects
from rxstream.errors import ConfigurationError, StreamError
from rxstream.machine import completed_by
from rxstream.tokens import StreamToken, to_json

NAME = "decode"
SUMMARY = "turn a captured response body into tokens"
DESCRIPTION = (
    "Turn a captured response body into one token per line, as JSON. "
    "The last line is the error if the stream carries or becomes one; the exit status is then 1."
)
EPILOG = "example: curl -sN … | rxstream decode --api openai.chat"

READ_SIZE = 65_536


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--api", required=True, metavar="API", help="one of: " + ", ".join(dialects()))
    parser.add_argument("--message", action="store_true", help="print the assembled message instead of the tokens")
    parser.add_argument("--raw-events", action="store_true", help="give events that no rule maps as RawEvent tokens")
    parser.add_argument("--chunk", type=_positive, metavar="N", help="cut the input every N bytes, whatever it came in")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the body; standard input if not given")


def run(options: argparse.Namespace) -> int:
    """Decode what `options` name; return the exit status."""
    reader = dialect(options.api).read_body(raw_events=options.raw_events)
    failure: StreamError | None = None
    with _opened(options.file) as source:
        try:
            for chunk in _chunks(source, options.chunk):
                _show(reader.feed(chunk), options)
            _show(reader.flush(), options)
        except StreamError as error:
            failure = error
            _show(completed_by(error), options)
    if options.message:
        _print(msgspec.json.encode(failure.partial if failure else reader.message))
    elif failure:
        _print(msgspec.json.encode({"type": "Error", "kind": type(failure).__name__, "error": failure.info}))
    return 1 if failure else 0


def _show(tokens: list[StreamToken], options: argparse.Namespace) -> None:
    if tokens and not options.message:
        _print(b"\n".join(map(to_json, tokens)))


def _print(line: bytes) -> None:
    """Write a line and let it go at once: whoever reads it may be watching a stream."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _opened(file: Path | None) -> BufferedReader:
    try:
        return file.open("rb") if file else os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    except OSError as error:
        raise ConfigurationError(f"cannot read {file or 'standard input'}: {error.strerror}") from error


def _chunks(source: BufferedReader, size: int | None) -> Iterator[bytes]:
    """The input as it comes, without waiting for more than there is; or cut every `size` bytes."""
    if size is None:
        while chunk := source.read1(READ_SIZE):
            yield chunk
    else:
        while chunk := source.read(size):
            yield chunk


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
