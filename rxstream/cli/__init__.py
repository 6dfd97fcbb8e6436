"""The command line: `rxstream chat | compare | decode | providers | serve | tokens`, one file for each command.

Exit status: 0 healthy, 1 the stream carried or became an error, 2 usage, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from rxstream._version import __version__
from rxstream.cli import chat, compare, decode, providers, serve, tokens
from rxstream.cli._advice import explain
from rxstream.errors import ConfigurationError, StreamError

COMMANDS = (chat, compare, decode, providers, serve, tokens)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="rxstream", description="Streams of language-model tokens.")
    parser.add_argument("--version", action="version", version=f"rxstream {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        added = commands.add_parser(
            command.NAME, help=command.SUMMARY, description=command.DESCRIPTION, epilog=command.EPILOG
        )
        command.add_arguments(added)
        added.set_defaults(run=command.run)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except StreamError as error:
        explain(error)
        return 2 if isinstance(error, ConfigurationError) else 1
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does. What Python would still flush at exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
