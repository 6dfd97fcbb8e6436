"""`rxstream decode`: captured bodies as tokens or as a message."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import reactivex

from rxstream.cli import main
from rxstream.errors import OverloadedError
from rxstream.taps import record
from rxstream.tokens import FinishReason, StreamEnd, TextDelta, ToolCallTruncated, from_json
from tests.shared import SHARED, needs_shared

GOOD = (
    b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}]}\n\n'
    b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"lo"}}]}\n\n'
    b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
CUT = GOOD[: GOOD.index(b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{},')]
CAPTURES = sorted(
    path.with_suffix("").relative_to(SHARED / "captures").as_posix()
    for path in SHARED.glob("captures/*/*.json")
    if path.name != "vectors.json" and json.loads(path.read_bytes())["api"] in {"openai.chat", "anthropic.messages"}
)


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.sse"
    path.write_bytes(GOOD)
    return str(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stream.rec"


def lines(capsys: pytest.CaptureFixture[bytes]) -> list[bytes]:
    return capsys.readouterr().out.splitlines()


def test_a_body_becomes_one_token_a_line(good: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    status = main(["decode", "--api", "openai.chat", good])

    tokens = [from_json(line) for line in lines(capsysbinary)]
    assert status == 0
    assert [token.text for token in tokens if isinstance(token, TextDelta)] == ["Hel", "lo"]
    assert isinstance(tokens[-1], StreamEnd)


@pytest.mark.parametrize("size", ["1", "7", "100000"])
def test_cutting_the_input_changes_nothing(good: str, size: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    main(["decode", "--api", "openai.chat", good])
    whole = lines(capsysbinary)

    status = main(["decode", "--api", "openai.chat", "--chunk", size, good])

    assert status == 0
    assert lines(capsysbinary) == whole


def test_a_cut_body_gives_its_tokens_and_then_the_error(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "cut.sse"
    path.write_bytes(CUT)

    status = main(["decode", "--api", "openai.chat", str(path)])

    *tokens, error = lines(capsysbinary)
    assert status == 1
    assert isinstance(from_json(tokens[-1]), TextDelta)
    assert json.loads(error)["kind"] == "TruncatedStreamError"
    assert json.loads(error)["error"]["message"]


def test_the_message_of_a_cut_body_says_that_it_is_not_complete(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "cut.sse"
    path.write_bytes(CUT)

    status = main(["decode", "--api", "openai.chat", "--message", str(path)])

    (message,) = map(json.loads, lines(capsysbinary))
    assert status == 1
    assert (message["text"], message["complete"], message["error"]["type"]) == (
        "Hello",
        False,
        "TruncatedStreamError",
    )


def test_a_call_cut_short_is_never_a_call(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    path = tmp_path / "cut.sse"
    path.write_bytes(
        b'data: {"id":"1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":'
        b'{"name":"f","arguments":"{\\"a\\":"}}]}}]}\n\n'
    )

    status = main(["decode", "--api", "openai.chat", str(path)])

    *_, last, _error = lines(capsysbinary)
    assert status == 1
    assert isinstance(from_json(last), ToolCallTruncated)


@pytest.mark.parametrize("body", [b"<html>no</html>", b'{"choices": []}', b"event: message_start\ndata: {}\n\n", b""])
def test_a_file_of_something_else_says_so(
    body: bytes, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "other"
    path.write_bytes(body)

    status = main(["decode", "--api", "openai.chat", str(path)])

    (error,) = map(json.loads, lines(capsysbinary))
    assert status == 1
    assert error["type"] == "Error"


@pytest.mark.parametrize(
    "arguments",
    [
        ["decode"],
        ["decode", "--api", "openai.chat", "--chunk", "0", "x"],
        ["decode", "--api", "openai.chat", "--chunk", "many", "x"],
        ["nonsense"],
        [],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments)

    assert exit.value.code == 2
    assert b"usage:" in capsysbinary.readouterr().err


def test_only_a_recording_may_know_its_api(good: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["decode", good])

    assert exit.value.code == 2
    assert b"required: --api" in capsysbinary.readouterr().err


def test_an_unknown_api_names_those_that_are_known(good: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    status = main(["decode", "--api", "openai.chta", good])

    assert status == 2
    assert b"openai.chat" in capsysbinary.readouterr().err


def test_a_missing_file_is_named(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    status = main(["decode", "--api", "openai.chat", str(tmp_path / "missing.sse")])

    assert status == 2
    assert b"missing.sse" in capsysbinary.readouterr().err


def test_standard_input_is_decoded_as_it_comes() -> None:
    command = [sys.executable, "-m", "rxstream", "decode", "--api", "openai.chat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(GOOD[:120])
        process.stdin.flush()
        first = process.stdout.readline()  # before the input has ended
        process.stdin.write(GOOD[120:])
        process.stdin.close()
        rest = process.stdout.read()

    assert b"StreamStart" in first
    assert b"StreamEnd" in rest
    assert process.returncode == 0


def test_a_reader_that_goes_away_is_no_traceback(good: str) -> None:
    command = f"{sys.executable} -m rxstream decode --api openai.chat {good} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)

    assert done.stderr == b""


@pytest.mark.parametrize("chunk", [[], ["--chunk", "7"]])
def test_a_recording_knows_its_api(chunk: list[str], path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    for body in (b"data: an older one", GOOD):
        reactivex.of(body).pipe(record(path, api="openai.chat")).subscribe()

    statuses = main(["decode", *chunk, str(path)]), main(["decode", "--message", *chunk, str(path)])

    *tokens, message = lines(capsysbinary)
    assert statuses == (0, 0)
    assert TextDelta("Hel") in map(from_json, tokens)
    assert json.loads(message)["text"] == "Hello"


def test_a_recorded_failure_is_the_error(path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    error = OverloadedError("no room", status=529, kind="overloaded_error")
    live = reactivex.concat(reactivex.of(CUT), reactivex.throw(error))
    live.pipe(record(path, api="openai.chat")).subscribe(on_error=lambda _: None)

    statuses = main(["decode", str(path)]), main(["decode", "--message", str(path)])

    *tokens, said, message = lines(capsysbinary)
    assert statuses == (1, 1)
    assert TextDelta("lo") in map(from_json, tokens)
    assert json.loads(said)["kind"] == "OverloadedError"
    assert (json.loads(message)["text"], json.loads(message)["error"]["type"]) == ("Hello", "overloaded_error")


def test_recorded_tokens_need_no_decoding(path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    reactivex.of(TextDelta("Hi"), StreamEnd(FinishReason.STOP, "stop")).pipe(record(path)).subscribe()

    status = main(["decode", str(path)])

    assert status == 0
    assert [from_json(line) for line in lines(capsysbinary)] == [TextDelta("Hi"), StreamEnd(FinishReason.STOP, "stop")]


def test_a_recording_of_an_unnamed_api_has_to_be_told_it(
    path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    reactivex.of(GOOD).pipe(record(path)).subscribe()

    assert main(["decode", str(path)]) == 2
    assert b"--api" in capsysbinary.readouterr().err
    assert main(["decode", "--api", "openai.chat", str(path)]) == 0


@needs_shared
@pytest.mark.parametrize("name", CAPTURES)
def test_captures_give_what_a_right_reader_gets(name: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    facts: dict[str, Any] = json.loads((SHARED / "captures" / f"{name}.json").read_bytes())
    expected = facts["expect"] | (facts.get("expect_if_tail_flushed") or {})
    arguments = ["decode", "--message", "--api", facts["api"], str(SHARED / "captures" / f"{name}.sse")]

    for chunk in ([], ["--chunk", "13"]):
        status = main([*arguments, *chunk])

        (message,) = map(json.loads, lines(capsysbinary))
        fields = ["text", "reasoning", "refusal", "tool_calls", "finish_reason", "usage", "complete", "error"]
        assert {field: message[field] for field in fields} == {field: expected[field] for field in fields}
        assert message["choices"] == expected.get("choices", [])
        assert status == (0 if expected["error"] is None else 1)
