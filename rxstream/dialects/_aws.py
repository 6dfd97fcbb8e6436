"""What the APIs of Amazon Bedrock have in common: where they are, who may ask, and how they say no.

A request goes out with a bearer key (`AWS_BEARER_TOKEN_BEDROCK`), or is signed with
Signature Version 4. Credentials are looked for as AWS's own tools do, in variables,
profiles, single sign-on, containers and instances: botocore does that, and it signs.
It is the extra `bedrock`, and imported when the first request is to be signed.

The address is that of the region which `AWS_REGION` or `AWS_DEFAULT_REGION` names, else
of `REGION`. A request is signed for the region of its address; where the address names
none, for that of the environment, of the profile, else for `REGION`.

Facts: boto/botocore `botocore/auth.py`, `botocore/data/bedrock-runtime/2023-09-30`,
`botocore/data/bedrock/2023-04-20`.
"""

# pyright: reportMissingTypeStubs=false
# botocore has no types; what is used of it is `Any` here.

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from rxstream.dialect import ModelPage, ToSign
from rxstream.dialects._answers import read_answer, read_body, read_refusal
from rxstream.dialects._values import as_objects, as_text, within
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
    provider_error,
)
from rxstream.framing import AwsMessage

SERVICE = "bedrock"
"""What requests are signed for; not `bedrock-runtime`, which is where they go."""
REGION = "us-east-1"
"""Where Bedrock is asked unless something says otherwise."""
BASE_URL = f"https://bedrock-runtime.{REGION}.amazonaws.com"
BASE_URL_VARIABLE = "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"
KEY_VARIABLE = "AWS_BEARER_TOKEN_BEDROCK"
REQUEST_ID_HEADERS = ("x-amzn-requestid",)
MODELS_PATH = "/foundation-models"
HEADERS = {"content-type": "application/json", "accept": "application/vnd.amazon.eventstream"}

Family = Literal["anthropic", "amazon.nova", "amazon.titan", "meta.llama", "openai"]
FAMILIES: tuple[Family, ...] = ("anthropic", "amazon.nova", "amazon.titan", "meta.llama", "openai")
"""Whose model it is, as its id says: each maker has words of its own."""

FAILED = frozenset({"exception", "error"})
"""Types of messages that end a stream in an error."""

_KINDS: Mapping[str, type[ProviderError]] = {
    "AccessDeniedException": PermissionDeniedError,
    "ConflictException": InvalidRequestError,
    "ExpiredTokenException": AuthenticationError,
    "IncompleteSignature": AuthenticationError,
    "InternalFailure": ServerError,
    "InternalServerException": ServerError,
    "InvalidClientTokenId": AuthenticationError,
    "InvalidSignatureException": AuthenticationError,
    "MissingAuthenticationTokenException": AuthenticationError,
    "ModelErrorException": ServerError,
    "ModelNotReadyException": OverloadedError,
    "ModelStreamErrorException": ServerError,
    "ModelTimeoutException": ServerError,
    "ResourceNotFoundException": NotFoundError,
    "ServiceQuotaExceededException": QuotaExceededError,
    "ServiceUnavailableException": OverloadedError,
    "ThrottlingException": RateLimitedError,
    "UnrecognizedClientException": AuthenticationError,
    "ValidationException": InvalidRequestError,
}
ERROR_WORDS = _KINDS | {name[0].lower() + name[1:]: error for name, error in _KINDS.items()}
"""Kinds of errors; inside a stream they begin with a small letter."""

_HOST = re.compile(r"(?:^|\.)bedrock(?:-runtime)?(?:-fips)?\.([a-z]{2,}(?:-[a-z]+)+-\d+)\.")
_FAMILY = re.compile(rf"(?<![a-z0-9-])({'|'.join(map(re.escape, FAMILIES))})(?![a-z])")

_looking = Lock()  # one request looks for credentials; the others wait for what it finds


def family_of(model: str) -> Family | None:
    """Return the family of the model of that id, inference profile or ARN; `None` if the id does not say."""
    found = _FAMILY.search(model)
    return next((family for family in FAMILIES if found and found[1] == family), None)


def model_path(model: str, action: str) -> str:
    """Return the path of what can be done with a model; every byte that may mean something there is escaped."""
    return f"/model/{quote(model, safe='')}/{action}"


def find_base_url(environment: Mapping[str, str]) -> str | None:
    """Return the address in the region that `environment` names."""
    region = _named_region(environment)
    if region is None:
        return None
    return f"https://bedrock-runtime.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def models_base_url(base_url: str) -> str:
    """Return where the list of models is: beside the runtime, not in it."""
    return base_url.replace("//bedrock-runtime", "//bedrock", 1)


def _named_region(environment: Mapping[str, str]) -> str | None:
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
    return region if re.fullmatch(r"[a-z0-9-]+", region) else None


def authorize(key: str) -> dict[str, str]:
    """Return the header that carries a key of Bedrock."""
    return {"authorization": f"Bearer {key}"}


def sign(request: ToSign) -> dict[str, str]:
    """Return the headers that sign `request` with the credentials that AWS's own tools would find.

    May read files and ask other services. Raises `ConfigurationError` without botocore, `AuthenticationError`
    without credentials.
    """
    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise ConfigurationError(
            f'signing a request takes botocore: pip install "rxstream[bedrock]", or set {KEY_VARIABLE} to a key'
        ) from error
    try:
        session = session_with_credentials()
        credentials = session.get_credentials().get_frozen_credentials()
        region = _region_of(request.url) or session.get_config_variable("region") or REGION
    except BotoCoreError as error:
        raise AuthenticationError(f"the credentials of AWS can't be had ({type(error).__name__})") from error
    signed: Any = AWSRequest(request.method, request.url, signed_headers(request.headers), request.body)
    before = set(signed.headers)
    signer: Any = SigV4Auth(credentials, SERVICE, region)
    signer.add_auth(signed)
    return {name.lower(): value for name, value in signed.headers.items() if name not in before}


def _region_of(url: str) -> str | None:
    """Return the region that the address is in, else the one that the environment names."""
    host = _HOST.search(urlsplit(url).hostname or "")
    return host[1] if host else _named_region(os.environ)


def signed_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What of `headers` is signed: what says how to read the body, and nothing that a proxy may change."""
    return {name: value for name, value in headers.items() if name == "content-type" or name.startswith("x-amz")}


def session_with_credentials() -> Any:
    """What found credentials and renews them, for as long as the environment stays the same."""
    with _looking:
        return found_session(tuple(item for item in sorted(os.environ.items()) if item[0].startswith("AWS_")))


@lru_cache(maxsize=4)
def found_session(_: tuple[tuple[str, str], ...]) -> Any:
    from botocore.session import Session

    session: Any = Session()
    if session.get_credentials() is None:
        raise AuthenticationError(
            f"no credentials: set {KEY_VARIABLE}, pass api_key=, or give credentials as for any tool of AWS, "
            "such as by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"
        )
    return session


def read_aws_refusal(provider: str, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Return the error that a refused request was answered with; the kind of it is in a header."""
    said = headers.get("x-amzn-errortype") or as_text(within(read_answer(body), "__type")) or ""
    kind = said.split(":")[0].rpartition("#")[2].strip()
    return read_refusal(
        provider,
        status,
        headers,
        body,
        words=ERROR_WORDS,
        request_id_headers=REQUEST_ID_HEADERS,
        kind=kind or None,
    )


def read_failure(provider: str, frame: AwsMessage) -> ProviderError:
    """Return the error that a message of one of the types `FAILED` is."""
    if frame.headers.get(":message-type") == "error":
        kind, said = as_text(frame.headers.get(":error-code")), as_text(frame.headers.get(":error-message"))
    else:
        kind, said = as_text(frame.headers.get(":exception-type")), read_body(frame.payload).message
    message = said or "the service gave up and did not say why"
    return provider_error(message, kind=kind, words=ERROR_WORDS, provider=provider)


def read_models(body: bytes) -> ModelPage:
    """Read the list of models: those that stream. Raises `ProtocolError` if it is no such list."""
    models = within(read_answer(body), "modelSummaries")
    if not isinstance(models, list):
        raise ProtocolError("the answer is no list of models")
    streaming = [model for model in as_objects(models) if model.get("responseStreamingSupported") is not False]
    return ModelPage([id for model in streaming if (id := as_text(model.get("modelId")))])
