"""Named presets: services that speak another's API, by what sets them apart.

A preset is data: where the service is, which variable holds its key, and its quirks.
It makes a dialect of its own out of `openai.chat`, with its own name in errors and
tokens. All of them are in the one table `PRESETS`; a row that is a text names a value
of this package that says it all by itself.

- An option that a server is documented to refuse or not to know is refused before the request; one that
  some of its models know is sent, and the server has the word. `extra` gets past all of it.
- `base_url_variable` is the one that the vendor's own SDK reads, if it means the same address there
  (`GROQ_BASE_URL` and others do not: they leave out the path), else one of ours.
- A server on this machine takes a key if there is one, and needs none.

Facts: each vendor's API reference; vercel/ai `packages/{deepseek,groq,xai,perplexity,…}/src`;
BerriAI/litellm `litellm/llms/*/chat/transformation.py`.
"""

from collections.abc import Mapping
from functools import cache, partial
from importlib import import_module
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from rxstream.dialect import Dialect
from rxstream.dialects._chat_requests import Quirks


class Preset(Struct, frozen=True, kw_only=True):
    """What sets a service apart that speaks `openai.chat`."""

    base_url: str
    key_variable: str | None
    base_url_variable: str | None = None
    needs_key: bool = True
    lacks: frozenset[str] = frozenset()
    """Capabilities of `openai.chat` that the service has not, as `Capabilities` calls them."""
    quirks: Quirks = Quirks()
    headers: Mapping[str, str] = {}
    models_path: str | None = "/models"
    no_models_below: str = ""
    """The end of `base_url` that the list of models does without."""


SAMPLES_MORE = {"top_k": "top_k"}
"""Servers of open models sample as those want it."""
NO_DEVELOPER = "system"
"""What the role is called where only OpenAI's first three are known."""

PRESETS: Mapping[str, Preset | str] = {
    "azure": "_azure:AZURE_CHAT",
    "azure.responses": "_azure:AZURE_RESPONSES",
    "cerebras": Preset(
        base_url="https://api.cerebras.ai/v1",
        key_variable="CEREBRAS_API_KEY",
        lacks=frozenset({"choices", "images"}),
        quirks=Quirks(
            options={
                "max_tokens": "max_completion_tokens",
                "n": None,
                "presence_penalty": None,
                "frequency_penalty": None,
            },
            developer_role=NO_DEVELOPER,
        ),
    ),
    "deepseek": Preset(
        base_url="https://api.deepseek.com",
        key_variable="DEEPSEEK_API_KEY",
        base_url_variable="DEEPSEEK_BASE_URL",
        lacks=frozenset({"choices", "images"}),
        quirks=Quirks(
            options={"n": None, "seed": None, "parallel_tool_calls": None, "response_format.json_schema": None},
            developer_role=NO_DEVELOPER,
            thinking="reasoning_content",
        ),
    ),
    "fireworks": Preset(
        base_url="https://api.fireworks.ai/inference/v1",
        key_variable="FIREWORKS_API_KEY",
        quirks=Quirks(options=SAMPLES_MORE, developer_role=NO_DEVELOPER, thinking="reasoning_content"),
    ),
    "github": Preset(
        base_url="https://models.github.ai/inference",
        key_variable="GITHUB_TOKEN",
        lacks=frozenset({"choices", "logprobs"}),
        models_path="/catalog/models",
        no_models_below="/inference",
    ),
    "groq": Preset(
        base_url="https://api.groq.com/openai/v1",
        key_variable="GROQ_API_KEY",
        lacks=frozenset({"choices", "logprobs"}),
        quirks=Quirks(
            options={"max_tokens": "max_completion_tokens", "n": None, "messages[].name": None},
            developer_role=NO_DEVELOPER,
        ),
    ),
    "huggingface": Preset(
        base_url="https://router.huggingface.co/v1",
        key_variable="HF_TOKEN",
        quirks=Quirks(developer_role=NO_DEVELOPER),
    ),
    "llamacpp": Preset(
        base_url="http://127.0.0.1:8080/v1",
        key_variable="LLAMA_API_KEY",
        base_url_variable="LLAMACPP_BASE_URL",
        needs_key=False,
        quirks=Quirks(options=SAMPLES_MORE, developer_role=NO_DEVELOPER, thinking="reasoning_content"),
    ),
    "lmstudio": Preset(
        base_url="http://127.0.0.1:1234/v1",
        key_variable="LM_API_TOKEN",
        base_url_variable="LMSTUDIO_BASE_URL",
        needs_key=False,
        quirks=Quirks(options=SAMPLES_MORE, developer_role=NO_DEVELOPER),
    ),
    "moonshot": Preset(
        base_url="https://api.moonshot.ai/v1",
        key_variable="MOONSHOT_API_KEY",
        base_url_variable="MOONSHOT_BASE_URL",
        lacks=frozenset({"logprobs"}),
        quirks=Quirks(
            options={"seed": None, "parallel_tool_calls": None},
            developer_role=NO_DEVELOPER,
            thinking="reasoning_content",
        ),
    ),
    "nvidia": Preset(
        base_url="https://integrate.api.nvidia.com/v1",
        key_variable="NVIDIA_API_KEY",
        quirks=Quirks(options=SAMPLES_MORE, developer_role=NO_DEVELOPER),
    ),
    "openrouter": Preset(
        base_url="https://openrouter.ai/api/v1",
        key_variable="OPENROUTER_API_KEY",
        base_url_variable="OPENROUTER_BASE_URL",
        lacks=frozenset({"choices"}),
        quirks=Quirks(options={"n": None, **SAMPLES_MORE}, thinking="reasoning_details", reasoning_is_object=True),
    ),
    "perplexity": Preset(
        base_url="https://api.perplexity.ai",
        key_variable="PERPLEXITY_API_KEY",
        base_url_variable="PERPLEXITY_BASE_URL",
        lacks=frozenset({"choices", "logprobs", "parallel_tools", "tools"}),
        quirks=Quirks(
            options={"n": None, "seed": None, "stop": None, "response_format.json_object": None, **SAMPLES_MORE},
            asks_for_usage=False,
            developer_role=NO_DEVELOPER,
        ),
        models_path=None,
    ),
    "together": Preset(
        base_url="https://api.together.xyz/v1",
        key_variable="TOGETHER_API_KEY",
        base_url_variable="TOGETHER_BASE_URL",
        quirks=Quirks(
            options={"parallel_tool_calls": None, **SAMPLES_MORE},
            asks_for_usage=False,
            developer_role=NO_DEVELOPER,
            logprobs_is_count=True,
        ),
    ),
    "vertex": "_vertex:VERTEX_GENERATE",
    "vllm": Preset(
        base_url="http://127.0.0.1:8000/v1",
        key_variable="VLLM_API_KEY",
        base_url_variable="VLLM_BASE_URL",
        needs_key=False,
        quirks=Quirks(options=SAMPLES_MORE, thinking="reasoning_content"),
    ),
    "xai": Preset(
        base_url="https://api.x.ai/v1",
        key_variable="XAI_API_KEY",
        base_url_variable="XAI_BASE_URL",
        quirks=Quirks(options={"max_tokens": "max_completion_tokens"}, developer_role=NO_DEVELOPER),
    ),
}


def names() -> list[str]:
    """Return the names of the presets, sorted; no dialect is imported for it."""
    return sorted(PRESETS)


@cache
def preset(name: str) -> Dialect[Any]:
    """Return the dialect that the preset of that name is."""
    row = PRESETS[name]
    if isinstance(row, Preset):
        return _made(name, row)
    module, _, value = row.partition(":")
    return getattr(import_module(f"{__package__}.{module}"), value)


def _models_base_url(end: str, base_url: str) -> str:
    return base_url.removesuffix(end)


def _made(name: str, preset: Preset) -> Dialect[Any]:
    from rxstream.dialects.openai_chat import OPENAI_CHAT, chat_dialect  # when it is asked for

    return chat_dialect(
        name,
        preset.quirks,
        base_url=preset.base_url,
        base_url_variable=preset.base_url_variable,
        key_variable=preset.key_variable,
        needs_key=preset.needs_key,
        headers=preset.headers,
        models_path=preset.models_path,
        models_base_url=partial(_models_base_url, preset.no_models_below),
        capabilities=replace(OPENAI_CHAT.capabilities, **dict.fromkeys(preset.lacks, False)),
    )
