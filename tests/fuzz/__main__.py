"""Fuzz parsers and decoders: `python -m tests.fuzz [TARGET …] --seconds N --runs N`; needs the extra `fuzz`.

Each target runs in a process of its own, for that long or for so many inputs, and begins with our own fixtures; with
`--corpus DIRECTORY` what it finds on its way is kept there, and is where the next run begins. What breaks a law is
written to a file, and tried again with `python -m tests.fuzz TARGET --input FILE`.
"""

import argparse
import subprocess
import sys
import tempfile
from hashlib import sha1
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def main() -> int:
    """Do what the command line says; return the exit status: 1 if anything broke a law."""
    options = _options()
    if options.input is not None:
        _targets()[options.targets[0]].check(options.input.read_bytes())
        return 0
    if options.alone:
        _fuzz(options)
    names: list[str] = options.targets or list(_targets())
    shared = [f"--seconds={options.seconds}", f"--runs={options.runs}", f"--seed={options.seed}", "--alone"]
    kept = [f"--corpus={options.corpus}"] if options.corpus else []
    broken = [name for name in names if _run([name, *shared, *kept])]
    print(f"{len(names)} targets; broken: {', '.join(broken) or 'none'}")
    return bool(broken)


def _run(arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "tests.fuzz", *arguments], check=False).returncode


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all of them if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target, at most")
    parser.add_argument(
        "--runs", type=int, default=-1, help="inputs for each target, at most; -1: as many as there is time for"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="a directory to keep what is found on the way")
    parser.add_argument("--input", type=Path, help="try the bytes of this file, and nothing else")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.input is None and find_spec("atheris") is None:
        parser.error("the extra `fuzz` is not installed")
    return options


def _targets() -> dict[str, Any]:
    return import_module("tests.fuzz.targets").TARGETS


def _fuzz(options: argparse.Namespace) -> None:
    """Fuzz one target; ends the process."""
    name: str = options.targets[0]
    corpus: Path | None = options.corpus
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["rxstream"]):
        targets = import_module("tests.fuzz.targets")
    target = targets.TARGETS[name]
    kept = (corpus or Path(tempfile.mkdtemp(prefix="rxstream-fuzz-"))) / name
    kept.mkdir(parents=True, exist_ok=True)
    for seed_bytes in target.seeds():
        (kept / sha1(seed_bytes, usedforsecurity=False).hexdigest()).write_bytes(seed_bytes)
    words = kept.with_name(f"{name}.words")
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in sorted(targets.words_of(target.seeds()))))
    print(f"{name}: {options.seconds} s, beginning with {len(target.seeds())} recordings, in {kept}", flush=True)
    flags = [f"-max_total_time={options.seconds}", f"-runs={options.runs}", f"-seed={options.seed}"]
    flags += ["-max_len=2048", "-timeout=20", "-rss_limit_mb=2048"]
    places = [f"-dict={words}", f"-artifact_prefix={kept}.", str(kept)]
    atheris.Setup([name, *flags, "-verbosity=0", "-print_final_stats=1", *places], target.check)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
