"""What the APIs of Bedrock have in common: addresses, families, signatures, refusals."""

import datetime as dt
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.dialect import ToSign
from rxstream.dialects import _aws, dialect
from rxstream.dialects._aws import (
    family_of,
    find_base_url,
    model_path,
    models_base_url,
    read_aws_refusal,
    read_failure,
    read_models,
    sign,
)
from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
)
from rxstream.framing import AwsMessage
from rxstream.providers import AiProvider
from tests.loopback import CHUNKED, Exchange, serving
from tests.shared import SHARED, needs_shared
from tests.strategies import json_values

KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
URL = "https://bedrock-runtime.eu-central-1.amazonaws.com/model/us.amazon.nova-micro-v1%3A0/converse-stream"
REQUEST = ToSign("POST", URL, {"content-type": "application/json", "accept": "x"}, b"{}")


def vectors() -> list[dict[str, Any]]:
    path = SHARED / "captures" / "bedrock" / "vectors.json"
    return json.loads(path.read_bytes())["sigv4"] if path.exists() else []


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No credentials but those that a test gives: no files, no services."""
    for name in [*_aws.os.environ]:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield
    _aws.found_session.cache_clear()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("botocore")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Stop botocore's clock at a time as signatures write it."""
    auth: Any = pytest.importorskip("botocore.auth")

    def stop(timestamp: str) -> None:
        moment = dt.datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        monkeypatch.setattr(auth, "get_current_datetime", lambda: moment)

    return stop


# --- Signatures ---


@needs_shared
@pytest.mark.parametrize("vector", vectors(), ids=lambda each: each["name"])
def test_every_vector_is_signed_as_it_states(
    vector: dict[str, Any], at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = vector["request"]
    headers = {name.lower(): value for name, value in request["headers"]}
    token = vector.get("session_token") or next(iter(_line(vector, "x-amz-security-token:")), None)
    url = f"https://{headers['host']}{request['path']}{'?' if request['query'] else ''}{request['query']}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", vector["access_key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", vector["secret_key"])
    monkeypatch.setenv("AWS_REGION", vector["region"])
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    monkeypatch.setattr(_aws, "SERVICE", vector["service"])
    monkeypatch.setattr(_aws, "signed_headers", dict[str, str])
    seen = _watch_signer(monkeypatch)
    at(vector["timestamp"])
    sent = {name: value for name, value in headers.items() if name not in {"x-amz-date", "x-amz-security-token"}}

    signed = sign(ToSign(request["method"], url, sent, request["body"].encode()))

    assert seen["canonical_request"] == vector["canonical_request"]
    assert seen["string_to_sign"] == vector["string_to_sign"]
    assert signed["authorization"] == vector["authorization"]
    assert signed["x-amz-date"] == vector["timestamp"]
    assert signed.get("x-amz-security-token") == token


def _line(vector: dict[str, Any], beginning: str) -> list[str]:
    lines: list[str] = vector["canonical_request"].split("\n")
    return [line.removeprefix(beginning) for line in lines if line.startswith(beginning)]


def _watch_signer(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What botocore's signer makes on its way."""
    signer: Any = pytest.importorskip("botocore.auth").SigV4Auth
    seen: dict[str, str] = {}

    def watched(name: str) -> None:
        real = getattr(signer, name)

        def watch(self: Any, *arguments: Any) -> str:
            seen[name] = real(self, *arguments)
            return seen[name]

        monkeypatch.setattr(signer, name, watch)

    watched("canonical_request")
    watched("string_to_sign")
    return seen


@pytest.mark.usefixtures("credentials")
def test_what_is_escaped_in_the_path_is_signed_escaped_again(
    at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _watch_signer(monkeypatch)
    at("20250102T030405Z")

    signed = sign(REQUEST)

    method, path, query, *headers, _signed_names, _hash = seen["canonical_request"].split("\n")
    assert (method, path, query) == ("POST", "/model/us.amazon.nova-micro-v1%253A0/converse-stream", "")
    assert headers == [
        "content-type:application/json",
        "host:bedrock-runtime.eu-central-1.amazonaws.com",
        "x-amz-date:20250102T030405Z",
        "",
    ]
    assert signed.keys() == {"authorization", "x-amz-date"}
    assert f"Credential={KEY_ID}/20250102/eu-central-1/bedrock/aws4_request" in signed["authorization"]


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("url", "environment", "region"),
    [
        (URL, {"AWS_REGION": "us-west-2"}, "eu-central-1"),
        ("https://bedrock.ap-south-1.amazonaws.com/foundation-models", {}, "ap-south-1"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com/x", {}, "us-gov-west-1"),
        ("https://vpce-1.bedrock-runtime.eu-west-3.vpce.amazonaws.com/x", {}, "eu-west-3"),
        ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn/x", {}, "cn-north-1"),
        ("http://127.0.0.1:80/x", {"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "x"}, "us-west-2"),
        ("http://127.0.0.1:80/x", {"AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"),
        ("http://127.0.0.1:80/x", {}, "us-east-1"),
    ],
)
def test_the_region_is_that_of_the_address_or_of_the_environment(
    url: str, environment: dict[str, str], region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert f"/{region}/bedrock/" in sign(ToSign("GET", url, {}, b""))["authorization"]


def test_credentials_and_region_may_be_a_profile_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("botocore")
    (tmp_path / "config").write_text("[profile work]\nregion = eu-north-1\n")
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_PROFILE", "work")

    signed = sign(ToSign("GET", "http://127.0.0.1/x", {}, b""))

    assert "Credential=AKIDWORK/" in signed["authorization"]
    assert "/eu-north-1/bedrock/" in signed["authorization"]


@pytest.mark.usefixtures("credentials")
def test_credentials_are_looked_for_once_until_the_environment_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    sign(REQUEST)
    sign(REQUEST)
    assert _aws.found_session.cache_info().misses == 1

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")

    assert "Credential=AKIDOTHER/" in sign(REQUEST)["authorization"]


def test_without_credentials_the_ways_to_give_some_are_named() -> None:
    pytest.importorskip("botocore")

    with pytest.raises(AuthenticationError, match=r"AWS_BEARER_TOKEN_BEDROCK.*AWS_ACCESS_KEY_ID"):
        sign(REQUEST)


def test_credentials_that_come_later_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("botocore")
    with pytest.raises(AuthenticationError):
        sign(REQUEST)

    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = AKIDLATER\naws_secret_access_key = s\n")

    assert "Credential=AKIDLATER/" in sign(REQUEST)["authorization"]


def test_half_of_the_credentials_is_told_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("botocore")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDHALF")

    with pytest.raises(AuthenticationError, match="PartialCredentialsError") as caught:
        sign(REQUEST)

    assert "AKIDHALF" not in str(caught.value)


def test_without_botocore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("botocore", "botocore.auth", "botocore.awsrequest", "botocore.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ConfigurationError, match=r'pip install "rxstream\[bedrock\]"'):
        sign(REQUEST)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("api", ["bedrock.converse", "bedrock.invoke"])
async def test_what_goes_out_is_what_was_signed_off_the_loop(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    seen = _watch_signer(monkeypatch)
    real = _aws.session_with_credentials

    def noted() -> Any:
        threads.append(threading.get_ident())
        return real()

    monkeypatch.setattr(_aws, "session_with_credentials", noted)
    heads: list[bytes] = []

    async def refuse(exchange: Exchange) -> None:
        await exchange.read_request()
        heads.append(exchange.head)
        await exchange.send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    async with serving(refuse) as address, AiProvider(api, base_url=address) as provider:
        with pytest.raises(ProviderError):
            await provider.chunks("Hi", model="us.anthropic.claude-x-v1:0")

    line, *lines = heads[0].decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    assert line.split(" ")[1].startswith("/model/us.anthropic.claude-x-v1%3a0/")  # the exchange has it in lower case
    assert "/model/us.anthropic.claude-x-v1%253A0/" in seen["canonical_request"]
    assert f"host:{headers['host']}\n" in seen["canonical_request"]
    assert f"content-type:{headers['content-type']}\n" in seen["canonical_request"]
    assert headers["authorization"].startswith("aws4-hmac-sha256 credential=akidexample/")
    assert "x-amz-date" in headers
    assert threads
    assert threading.get_ident() not in threads


async def test_a_key_goes_before_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-key")
    heads: list[bytes] = []

    async def answer(exchange: Exchange) -> None:
        await exchange.read_request()
        heads.append(exchange.head)
        await exchange.send(CHUNKED + b"0\r\n\r\n")

    async with serving(answer) as address, AiProvider("bedrock.converse", base_url=address) as provider:
        await provider.check_health()

    assert b"authorization: bearer bedrock-key" in heads[0]
    assert b"get /foundation-models " in heads[0]


# --- Addresses and names ---


def test_the_region_implies_the_address() -> None:
    assert find_base_url({}) is None
    assert find_base_url({"AWS_REGION": "not/a region"}) is None
    assert find_base_url({"AWS_DEFAULT_REGION": "eu-west-1"}) == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert find_base_url({"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "eu-west-1"}) == (
        "https://bedrock-runtime.us-west-2.amazonaws.com"
    )
    assert find_base_url({"AWS_REGION": "cn-north-1"}) == "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize("api", ["bedrock.converse", "bedrock.invoke"])
def test_a_provider_goes_where_the_environment_says(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = AiProvider(api)

    assert provider.base_url == "https://bedrock-runtime.us-east-1.amazonaws.com"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert provider.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:1/")
    assert provider.base_url == "http://127.0.0.1:1"


def test_the_list_of_models_is_beside_the_runtime() -> None:
    assert models_base_url("https://bedrock-runtime.eu-west-1.amazonaws.com") == (
        "https://bedrock.eu-west-1.amazonaws.com"
    )
    assert models_base_url("http://127.0.0.1:8080") == "http://127.0.0.1:8080"


def test_models_are_those_that_stream() -> None:
    summaries = [
        {"modelId": "amazon.nova-micro-v1:0", "responseStreamingSupported": True},
        {"modelId": "amazon.titan-embed-text-v2:0", "responseStreamingSupported": False},
        {"modelId": "someone.new-v1:0"},
        {"modelName": "nameless"},
    ]

    page = read_models(json.dumps({"modelSummaries": summaries}).encode())

    assert (page.models, page.next_path) == (["amazon.nova-micro-v1:0", "someone.new-v1:0"], None)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"modelSummaries": 7}', b'{"models": []}'])
def test_an_answer_that_is_no_list_of_models_is_told_apart(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_models(body)


def test_a_model_s_id_is_escaped_in_the_path() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-micro-v1:0"

    assert model_path("us.amazon.nova-micro-v1:0", "converse-stream") == (
        "/model/us.amazon.nova-micro-v1%3A0/converse-stream"
    )
    assert model_path(arn, "x") == (
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.amazon.nova-micro-v1%3A0/x"
    )
    assert model_path("a?b#c é~", "x") == "/model/a%3Fb%23c%20%C3%A9~/x"


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "anthropic"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2", "anthropic"),
        ("amazon.nova-micro-v1:0", "amazon.nova"),
        ("global.amazon.nova-2-lite-v1:0", "amazon.nova"),
        ("amazon.titan-text-express-v1", "amazon.titan"),
        ("us.meta.llama3-1-8b-instruct-v1:0", "meta.llama"),
        ("openai.gpt-oss-20b-1:0", "openai"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", None),
        ("arn:aws:bedrock:us-east-1:1:imported-model/my-anthropic.x", None),
        ("mistral.mistral-large-2402-v1:0", None),
        ("", None),
    ],
)
def test_the_id_of_a_model_tells_its_family(model: str, family: str | None) -> None:
    assert family_of(model) == family


# --- Refusals ---

CLASSES = [
    (400, "ValidationException", InvalidRequestError, False),
    (400, "ServiceQuotaExceededException", QuotaExceededError, False),
    (403, "AccessDeniedException", PermissionDeniedError, False),
    (403, "UnrecognizedClientException", AuthenticationError, False),
    (403, "ExpiredTokenException", AuthenticationError, False),
    (403, "InvalidSignatureException", AuthenticationError, False),
    (404, "ResourceNotFoundException", NotFoundError, False),
    (408, "ModelTimeoutException", ServerError, True),
    (424, "ModelErrorException", ServerError, True),
    (429, "ThrottlingException", RateLimitedError, True),
    (429, "ModelNotReadyException", OverloadedError, True),
    (500, "InternalServerException", ServerError, True),
    (503, "ServiceUnavailableException", OverloadedError, True),
    (418, "SomethingNew", InvalidRequestError, False),
]


@pytest.mark.parametrize(("status", "kind", "error", "is_retryable"), CLASSES)
@pytest.mark.parametrize("place", ["header", "header with an address", "shape name", "body"])
def test_a_refusal_has_the_class_of_its_kind(
    status: int, kind: str, error: type[ProviderError], is_retryable: bool, place: str
) -> None:
    headers = {
        "header": {"x-amzn-errortype": kind},
        "header with an address": {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/x/"},
        "shape name": {"x-amzn-errortype": f"com.amazon.bedrock#{kind}"},
        "body": {},
    }[place]
    body = {"message": "no", "__type": f"com.amazon.bedrock#{kind}"} if place == "body" else {"message": "no"}

    refusal = read_aws_refusal("x.y", status, headers | {"x-amzn-requestid": "r-1"}, json.dumps(body).encode())

    assert type(refusal) is error
    assert (refusal.kind, refusal.message, refusal.request_id) == (kind, "no", "r-1")
    assert refusal.is_retryable is is_retryable


def test_some_parts_of_aws_write_their_message_large() -> None:
    refusal = read_aws_refusal("x.y", 403, {}, b'{"Message": "User is not authorized"}')

    assert (type(refusal), refusal.message, refusal.kind) == (PermissionDeniedError, "User is not authorized", None)


@needs_shared
@pytest.mark.parametrize("api", ["bedrock.converse", "bedrock.invoke"])
def test_the_recorded_refusal_gives_what_it_states(api: str) -> None:
    path = SHARED / "captures" / "http-errors.json"
    [answer] = [each for each in json.loads(path.read_bytes()) if each["provider"] == "bedrock"]
    expect = answer["expect"]

    refusal = dialect(api).read_error(answer["status"], answer["headers"], answer["body"].encode())

    assert type(refusal) is AuthenticationError
    assert (refusal.status, refusal.kind, refusal.code) == (expect["status"], expect["type"], expect["code"])
    assert (refusal.message, refusal.request_id) == (expect["message"], expect["request_id"])


@pytest.mark.parametrize(("_status", "kind", "error", "is_retryable"), CLASSES[:-1])
def test_an_exception_in_a_stream_begins_with_a_small_letter(
    _status: int, kind: str, error: type[ProviderError], is_retryable: bool
) -> None:
    said = kind[0].lower() + kind[1:]
    headers: Any = {":message-type": "exception", ":exception-type": said}

    failure = read_failure("x.y", AwsMessage(headers, b'{"message": "no"}'))

    assert type(failure) is error
    assert (failure.kind, failure.message, failure.provider) == (said, "no", "x.y")
    assert failure.is_retryable is is_retryable


def test_an_error_in_a_stream_is_told_by_its_headers() -> None:
    headers: Any = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "broke"}

    failure = read_failure("x.y", AwsMessage(headers, b""))

    assert (type(failure), failure.kind, failure.message) == (ServerError, "InternalFailure", "broke")


@given(
    kind=st.sampled_from(["exception", "error"]),
    headers=st.dictionaries(
        st.sampled_from([":exception-type", ":error-code", ":error-message"]), st.text() | st.integers()
    ),
    payload=st.binary() | json_values.map(lambda value: json.dumps(value).encode()),
)
def test_any_failure_is_a_provider_error_with_a_message(kind: str, headers: Any, payload: bytes) -> None:
    failure = read_failure("x.y", AwsMessage({":message-type": kind, **headers}, payload))

    assert failure.message


@given(status=st.integers(400, 599), header=st.text(), body=st.binary() | json_values.map(json.dumps).map(str.encode))
def test_any_refusal_is_a_provider_error_with_a_message(status: int, header: str, body: bytes) -> None:
    refusal = read_aws_refusal("x.y", status, {"x-amzn-errortype": header}, body)

    assert refusal.message
    assert refusal.status == status
