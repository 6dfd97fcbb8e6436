"""`rxstream tokens`: vocabularies from a mirror on loopback, counts from files."""

import asyncio
import hashlib
import io
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import tiktoken.registry

from rxstream.cli import main
from rxstream.tokenizer import FILES, VocabularyFile
from tests.loopback import Exchange, serving
from tests.tokenizer.encodings import SMALL

DATA = b"vocabulary"
GOOD = VocabularyFile("/good", hashlib.sha256(DATA).hexdigest())
"""What a mirror has."""
WRONG = VocabularyFile("/good", hashlib.sha256(b"else").hexdigest())
"""What a mirror has another version of."""
GONE = VocabularyFile("/gone", "")


class Mirror(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/good" else 404)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "cache"


def fetch(monkeypatch: pytest.MonkeyPatch, file: VocabularyFile, *arguments: str) -> int:
    monkeypatch.setitem(FILES, "gpt2", (file,))
    return main(["tokens", "fetch", "gpt2", *arguments])


def test_a_fetched_file_is_in_the_cache_under_tiktokens_name(
    mirror: str, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = fetch(monkeypatch, GOOD, "--from", mirror)
    again = fetch(monkeypatch, GOOD, "--from", mirror + "/nowhere")

    assert (first, again) == (0, 0)
    assert [path.name for path in cache.iterdir()] == [GOOD.cache_name]
    assert (cache / GOOD.cache_name).read_bytes() == DATA
    assert "there already" in capsys.readouterr().out


@pytest.mark.parametrize(("file", "says"), [(WRONG, "SHA-256"), (GONE, "HTTP 404")])
def test_what_is_not_the_file_is_not_kept(
    file: VocabularyFile, says: str, mirror: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = fetch(monkeypatch, file, "--from", mirror)

    assert status == 1
    assert says in capsys.readouterr().err
    assert not file.is_cached


def test_nobody_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status = fetch(monkeypatch, GOOD, "--from", "http://127.0.0.1:9")

    assert status == 1
    assert "is this machine online?" in capsys.readouterr().err


async def test_a_server_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def say_nothing(exchange: Exchange) -> None:
        await exchange.wait_closed_by_client()

    async with serving(say_nothing) as url:
        status = await asyncio.to_thread(fetch, monkeypatch, GOOD, "--from", url, "--timeout", "0.05")

    assert status == 1
    assert "in time" in capsys.readouterr().err


def test_a_disabled_cache_is_a_usage_error(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")

    assert fetch(monkeypatch, GOOD, "--from", mirror) == 2


def test_an_unknown_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["tokens", "fetch", "nonsense"])

    assert status == 2
    assert "o200k_base" in capsys.readouterr().err


@pytest.mark.parametrize("chosen", [[], ["--model", "gpt-4o"], ["--encoding", "o200k_base"]])
def test_a_file_is_counted(
    chosen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "o200k_base", SMALL)
    text = "the thing\r\n\xe9" * 9_000
    (tmp_path / "text").write_bytes(text.encode())

    status = main(["tokens", "count", *chosen, str(tmp_path / "text")])

    said = capsys.readouterr()
    assert status == 0
    assert said.out == f"{len(SMALL.encode_ordinary(text))}\n"


def test_standard_input_is_counted_and_an_estimate_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_bytes(b"twelve bytes")
    with (tmp_path / "text").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))

        status = main(["tokens", "count"])

    said = capsys.readouterr()
    assert (status, said.out) == (0, "3\n")
    assert "`rxstream tokens fetch o200k_base` makes it exact" in said.err


def test_a_model_that_nobody_knows_is_estimated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_bytes(b"four")

    status = main(["tokens", "count", "--model", "claude-opus", str(tmp_path / "text")])

    said = capsys.readouterr()
    assert (status, said.out) == (0, "1\n")
    assert "nobody knows claude-opus's encoding" in said.err


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    assert main(["tokens", "count", str(tmp_path / "missing")]) == 2
