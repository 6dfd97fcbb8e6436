"""Azure's OpenAI service: the two APIs of OpenAI at an address and with a key of one's own.

A base URL names the resource, and how it is spoken to:

| base URL                                              | what a request names as its model  |
| ----------------------------------------------------- | ---------------------------------- |
| `https://R.openai.azure.com`, or with `/openai/v1`    | the deployment                     |
| `https://R.openai.azure.com/openai?api-version=V`     | the deployment, which is in the path too |
| `…/openai/deployments/D?api-version=V`                | anything: chat goes to `D`         |
| `https://R.services.ai.azure.com/models?api-version=V` | the model                         |

Without one, the environment says where: `AZURE_OPENAI_ENDPOINT`, and `OPENAI_API_VERSION` for a dated version.
A key goes into the header `api-key`. A token of Entra is a JWT, by which it is known, and goes as `Bearer`; one
expires, so pass a function that gives a fresh one: `AiProvider("azure", api_key=token_provider)`.

What else is Azure's own is read by the dialects of OpenAI: a first chunk without id, model and choices, chunks
without a delta, and the verdicts of content filters, which are in `StreamEnd.details`. A blocked prompt is a
`ContentBlockedError`. Limits have no stated unit where OpenAI's have one. Models are listed by their own names,
not by those of deployments, so `list_models` has nothing to list.

Facts: openai/openai-python `src/openai/lib/azure.py`; vercel/ai `packages/azure/src`.
"""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote, urlsplit

from msgspec.structs import replace as with_fields

from rxstream.dialect import HttpRequest
from rxstream.dialects._chat_requests import ChatWriter, Quirks
from rxstream.dialects.openai_chat import chat_dialect
from rxstream.dialects.openai_responses import OPENAI_RESPONSES, responses_dialect
from rxstream.messages import ChatRequest

CHAT, RESPONSES = "azure", "azure.responses"
DEPLOYMENTS = "/deployments/"
UNDATED = frozenset({"preview", "latest", "v1"})
"""Versions of the API whose address has no date: those of `/openai/v1`."""
_writer = ChatWriter(CHAT)


def find_base_url(environment: Mapping[str, str]) -> str | None:
    """Return the address that the environment implies; `None` if it names no resource."""
    endpoint = environment.get("AZURE_OPENAI_ENDPOINT", "").rstrip("/")
    version = environment.get("OPENAI_API_VERSION", "")
    if not endpoint:
        return None
    query = f"?api-version={quote(version)}" if version else ""
    if urlsplit(endpoint).path:
        return endpoint + query
    return f"{endpoint}/openai{query}" if version and version not in UNDATED else f"{endpoint}/openai/v1{query}"


def address(base_url: str, path: str) -> str:
    """Return where a request for `path` goes.

    Under `/openai`, chat has an address for each deployment; everything else has one for all of them.
    """
    if not urlsplit(base_url).path:
        base_url += "/openai/v1"
    home, _, deployment = base_url.partition(DEPLOYMENTS)
    if not path.startswith(DEPLOYMENTS):
        return home + path
    if deployment or not home.endswith("/openai"):
        _, _, path = path.removeprefix(DEPLOYMENTS).partition("/")
        path = f"/{path}"
    return base_url + path


def authorize(key: str) -> dict[str, str]:
    """Return the header that carries a key, or a token of Entra, which is a JWT."""
    return {"authorization": f"Bearer {key}"} if key.startswith("eyJ") else {"api-key": key}


def build_chat_request(request: ChatRequest) -> HttpRequest:
    """Write `request` down as `openai.chat` does, for the deployment that it names as its model."""
    written = _writer.build_request(request)
    return with_fields(written, path=f"{DEPLOYMENTS}{quote(request.model, safe='')}{written.path}")


_OWN = {
    "base_url": "",
    "base_url_variable": "AZURE_OPENAI_BASE_URL",
    "find_base_url": find_base_url,
    "address": address,
    "key_variable": "AZURE_OPENAI_API_KEY",
    "authorize": authorize,
    "read_models": None,
}

AZURE_CHAT = replace(chat_dialect(CHAT, Quirks(), **_OWN), build_request=build_chat_request)
AZURE_RESPONSES = responses_dialect(
    RESPONSES,
    **_OWN,
    count_request=None,
    read_count=None,
    capabilities=with_fields(OPENAI_RESPONSES.capabilities, token_counting=False),
)
