"""`rxstream serve`: the simulator, for tests of your own."""

import argparse
import asyncio
from pathlib import Path

import msgspec

from rxstream.errors import ConfigurationError
from rxstream.simulator import MODELS, SCRIPT_HEADER, Script, Settings, Simulator, Speed, Writes, apis, serve

NAME = "serve"
SUMMARY = "run the simulator, for tests of your own"
DESCRIPTION = "Run a local provider that speaks the services' own words, with faults on demand."
EPILOG = (
    f"A request chooses for itself by the name of its model ({', '.join(MODELS)}), "
    f"or by a script as JSON in the header {SCRIPT_HEADER}."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s)")
    parser.add_argument("--port", type=int, default=4010, help="the port; 0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=40.0, metavar="N", help="tokens a second; 0 is as fast as it goes"
    )
    parser.add_argument("--first-token", type=float, default=0.25, metavar="S", help="seconds until the first token")
    parser.add_argument("--write", type=int, metavar="N", help="cut the body every N bytes, not after each event")
    parser.add_argument("--script", type=Path, metavar="FILE", help="what to answer: a script as JSON")
    parser.add_argument("--seed", type=int, default=0, help="other seeds give other ids and padding")


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    settings = _settings(options)

    def announce(simulator: Simulator) -> None:
        for name in sorted(apis()):
            print(f"{name:20} {simulator.base_url(name)}", flush=True)

    try:
        asyncio.run(serve(settings, host=options.host, port=options.port, started=announce))
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {options.host}:{options.port}: {error.strerror}") from error
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    try:
        script = msgspec.json.decode(options.script.read_bytes(), type=Script) if options.script else Script()
        return Settings(
            script=script,
            speed=Speed(options.rate, options.first_token),
            writes=Writes(every=options.write),
            seed=options.seed,
        )
    except OSError as error:
        raise ConfigurationError(f"cannot read {options.script}: {error.strerror}") from error
    except ValueError as error:  # what the values themselves refuse, and what is no script
        raise ConfigurationError(f"no such simulator: {error}") from error
