"""Gemini as Google Cloud offers it: the same API at the address of a project, with an access token for a key.

The token lives for an hour: `api_key` is best a function that gives a fresh one, such as
`lambda: subprocess.check_output(["gcloud", "auth", "print-access-token"], text=True)`.
`streamFunctionCallArguments`, which only this service has, goes through `extra`:
`{"toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}}}`.

Facts: googleapis/python-genai `google/genai/_api_client.py`, `models.py`.
"""

import re
from collections.abc import Mapping

from rxstream.dialects.gemini_generate import GenerateWriter, generate_dialect

NAME = "vertex"
API_KEYS = ("AIza", "AQ.")
"""How Google's keys begin; a token begins otherwise."""
_PUBLISHER = re.compile(r"/v1(?:beta1)?/(?:projects/.*/)?publishers/google$")


def find_base_url(environment: Mapping[str, str]) -> str | None:
    """Return the address of the project that the environment names, in its location (`global` if none is named)."""
    project = environment.get("GOOGLE_CLOUD_PROJECT")
    location = environment.get("GOOGLE_CLOUD_LOCATION") or "global"
    if not project:
        return None
    match location:
        case "global":
            host = "aiplatform.googleapis.com"
        case "us" | "eu":
            host = f"aiplatform.{location}.rep.googleapis.com"
        case _:
            host = f"{location}-aiplatform.googleapis.com"
    return f"https://{host}/v1/projects/{project}/locations/{location}/publishers/google"


def models_base_url(base_url: str) -> str:
    """Return where the models are listed: they are the same for all projects."""
    return _PUBLISHER.sub("/v1beta1/publishers/google", base_url)


def authorize(key: str) -> dict[str, str]:
    """Return the header that carries an access token, or a key of the express mode, which has no project."""
    return {"x-goog-api-key": key} if key.startswith(API_KEYS) else {"authorization": f"Bearer {key}"}


VERTEX_GENERATE = generate_dialect(
    NAME,
    GenerateWriter(NAME, counts_whole_request=False),
    base_url="https://aiplatform.googleapis.com/v1/publishers/google",
    find_base_url=find_base_url,
    key_variable="GOOGLE_OAUTH_ACCESS_TOKEN",
    authorize=authorize,
    models_base_url=models_base_url,
)
