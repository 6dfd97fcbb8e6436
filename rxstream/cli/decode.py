"""`rxstream decode`: a captured body, or a recording, to tokens or to the message that they add up to."""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import msgspec
from reactivex import operators as ops

from rxstream.dialects import dialect, dialects
from rxstream.errors import ConfigurationError, StreamError
from rxstream.framing.recording import looks_like_recording
from rxstream.machine import completed_by
from rxstream.messages import AssembledMessage
from rxstream.operators import decode
from rxstream.sinks import collect
from rxstream.sources import recordings, replay
from rxstream.tokens import StreamToken, to_json

NAME = "decode"
SUMMARY = "turn a captured response body, or a recording, into tokens"
DESCRIPTION = (
    "Turn a captured response body, or the last recording of a file, into one token per line, as JSON. "
    "The last line is the error if the stream carries or becomes one; the exit status is then 1."
)
EPILOG = "example: curl -sN … | rxstream decode --api openai.chat"

READ_SIZE = 65_536
NEEDS_API = "the following arguments are required: --api (only a recording may know its own)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    known = ", ".join(dialects())
    parser.add_argument("--api", metavar="API", help=f"one of: {known}; a recording may know its own")
    parser.add_argument("--message", action="store_true", help="print the assembled message instead of the tokens")
    parser.add_argument("--raw-events", action="store_true", help="give events that no rule maps as RawEvent tokens")
    parser.add_argument("--chunk", type=_positive, metavar="N", help="cut the input every N bytes, whatever it came in")
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="the body or the recording; standard input if not given"
    )
    parser.set_defaults(refuse=parser.error)


def run(options: argparse.Namespace) -> int:
    """Decode what `options` name; return the exit status."""
    if options.file is None and options.api is None:
        options.refuse(NEEDS_API)
    with _opened(options.file) as source:
        if options.file is not None and looks_like_recording(source.peek(30)):
            return asyncio.run(_decode_recording(options))
        if options.api is None:
            options.refuse(NEEDS_API)
        return _decode_body(source, options)


def _decode_body(source: BufferedReader, options: argparse.Namespace) -> int:
    reader = dialect(options.api).read_body(raw_events=options.raw_events)
    failure: StreamError | None = None
    try:
        for chunk in _chunks(source, options.chunk):
            _show(reader.feed(chunk), options)
        _show(reader.flush(), options)
    except StreamError as error:
        failure = error
        _show(completed_by(error), options)
    return _finish(reader.message, failure, options)


async def _decode_recording(options: argparse.Namespace) -> int:
    recording = recordings(options.file)[-1]
    stream = replay(options.file, speed=None, cut=options.chunk)
    if recording.holds != "tokens":
        if (api := options.api or recording.api) is None:
            raise ConfigurationError("the recording does not say which API it is of: pass --api")
        stream = stream.pipe(decode(api, raw_events=options.raw_events))
    shown = stream.pipe(ops.do_action(lambda token: _show([token], options)))
    try:
        return _finish(await collect(shown), None, options)
    except StreamError as error:
        return _finish(None, error, options)


def _finish(message: AssembledMessage | None, failure: StreamError | None, options: argparse.Namespace) -> int:
    """Print what comes after the tokens; return the exit status."""
    if options.message:
        _print(msgspec.json.encode(failure.partial if failure else message))
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
