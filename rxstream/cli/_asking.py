"""What is asked, and of whom: providers by the names that people type, messages of what they point at."""

import mimetypes
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from rxstream.cli._advice import known_dialect
from rxstream.dialects import dialect_and_model, dialects, presets
from rxstream.errors import ConfigurationError
from rxstream.messages import ImagePart, Message, Part, TextPart, Tool
from rxstream.providers import AiProvider
from rxstream.simulator import Simulator
from rxstream.tokens import Json

SIMULATED_API = "openai.chat"
SIMULATOR = "simulator"
"""Names the simulator where a provider goes, as in `simulator:simulated-tools`."""
LARGEST_IMAGE = 32 * 1024 * 1024
"""Bytes; no service takes larger ones in a request."""
IMAGES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}
"""How the images begin that the services take."""


class Models:
    """The models of one run, each provider opened when it is first asked for, all closed together."""

    def __init__(self, base_url: str | None = None) -> None:
        self._base_url = base_url
        self._stack = AsyncExitStack()
        self._providers: dict[str, AiProvider] = {}
        self._simulator: Simulator | None = None

    async def __aenter__(self) -> "Models":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._stack.aclose()

    async def open(self, name: str | None) -> tuple[AiProvider, str]:
        """Return whom to ask, and for which model; without a name and an address, the simulator, and say so.

        Raises `ConfigurationError` for a name that is none.
        """
        if name is None and self._base_url is None:
            provider = await self._simulated()
            print(f"no model named: the simulator answers, at {provider.base_url}{_hint()}", file=sys.stderr)
            return provider, "simulator"
        maker, _, model = (name or "").partition(":")
        if maker == SIMULATOR and model:
            return await self._simulated(), model
        api, model = dialect_and_model(name or "")
        if maker not in self._providers:
            self._providers[maker] = await self._opened(AiProvider(api, base_url=self._base_url))
        return self._providers[maker], model

    async def _simulated(self) -> AiProvider:
        if self._simulator is None:
            self._simulator = await self._stack.enter_async_context(Simulator())
            address = self._simulator.base_url(SIMULATED_API)
            provider = AiProvider(SIMULATED_API, base_url=address, api_key=None)
            self._providers[SIMULATOR] = await self._opened(provider)
        return self._providers[SIMULATOR]

    async def _opened(self, provider: AiProvider) -> AiProvider:
        return await self._stack.enter_async_context(provider)


def user_message(text: str, images: list[str]) -> Message:
    """Return what the user says, with the images that are named: files, or addresses.

    Raises `ConfigurationError` for a file that can't be read or is no image.
    """
    if not images:
        return Message("user", text)
    parts: list[Part] = [image(name) for name in images]
    return Message("user", [*parts, TextPart(text)] if text else parts)


def image(name: str) -> ImagePart:
    """Return the image in the file `name`, or at that address."""
    if urlsplit(name).scheme in {"http", "https", "data"}:
        return ImagePart(url=name)
    data = _read(Path(name).expanduser())
    kind = next((kind for start, kind in IMAGES.items() if data.startswith(start)), None)
    kind = kind or mimetypes.guess_type(name)[0] or ""
    if not kind.startswith("image/"):
        raise ConfigurationError(f"{name} is no image that services take: they want PNG, JPEG, GIF or WebP")
    if len(data) > LARGEST_IMAGE:
        raise ConfigurationError(f"{name} is larger than {LARGEST_IMAGE >> 20} MiB: make it smaller first")
    return ImagePart(data=data, media_type=kind)


def tools(files: list[str]) -> list[Tool]:
    """Return the tools that JSON files describe: one, or a list, in the form of any of the services.

    Raises `ConfigurationError` for what is none.
    """
    return [tool for file in files for tool in _tools_in(Path(file).expanduser())]


def _tools_in(file: Path) -> list[Tool]:
    try:
        value: Json = msgspec.json.decode(_read(file))
        return [_tool(one) for one in cast("list[Json]", value if isinstance(value, list) else [value])]
    except (msgspec.DecodeError, TypeError) as error:
        raise ConfigurationError(
            f"{file} describes no tool ({error}): it takes JSON such as "
            '{"name": "get_weather", "description": "…", "parameters": {"type": "object", "properties": {…}}}'
        ) from error


def _tool(value: Json) -> Tool:
    """A tool as `Tool` writes it, or as Chat Completions, Responses, Anthropic or MCP do."""
    if not isinstance(value, dict):
        raise TypeError("a tool is an object")
    said = cast("dict[str, Any]", value)
    said = {**said, **cast("dict[str, Any]", said.get("function") or {})}
    schema = said.get("parameters") or said.get("input_schema") or said.get("inputSchema")
    kept = {name: said[name] for name in ("name", "description", "strict") if said.get(name) is not None}
    return msgspec.convert(kept | ({"parameters": schema} if schema is not None else {}), Tool)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from error


def _hint() -> str:
    """Which keys are there for a next step."""
    names = [*dialects(), *presets()]
    found = [name for name in names if (known := known_dialect(name)) and os.environ.get(known.key_variable or "")]
    return f"; with -m {found[0]}:MODEL the service does" if found else ""
