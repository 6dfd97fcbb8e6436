"""Which encoding a model uses, and where its files are. Nothing here ever downloads.

tiktoken downloads a vocabulary on first use, without a timeout and holding a global
lock, and it deletes a cached file that is not right. So it is only asked once all
files of an encoding are in its cache and right. `rxstream tokens fetch` puts them there.

The facts (addresses, SHA-256) are those of `tiktoken_ext/openai_public.py`; where
the cache lies and how files are named in it, of `tiktoken/load.py`.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from rxstream.errors import ConfigurationError, ProtocolError

ORIGIN = "https://openaipublic.blob.core.windows.net"


class Encoding(Protocol):
    """What is used of a `tiktoken.Encoding`."""

    @property
    def name(self) -> str:
        """What the encoding is called."""
        ...

    def encode_ordinary(self, text: str) -> list[int]:
        """Return the ids of `text`, in which no text is special."""
        ...

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """Return the bytes of ids."""
        ...

    def decode_single_token_bytes(self, token: int) -> bytes:
        """Return the bytes of one id."""
        ...


class VocabularyFile(Struct, frozen=True):
    """A file that an encoding is made of."""

    path: str
    """Its path at `ORIGIN`."""
    sha256: str

    @property
    def cache_name(self) -> str:
        """What tiktoken calls it in its cache."""
        return hashlib.sha1(f"{ORIGIN}{self.path}".encode(), usedforsecurity=False).hexdigest()

    @property
    def is_cached(self) -> bool:
        """Whether it is in the cache, and right."""
        folder = cache_folder()
        if folder is None:
            return False
        try:
            return self.is_right((folder / self.cache_name).read_bytes())
        except OSError:  # not there, or not ours to read: tiktoken could not use it either
            return False

    def is_right(self, data: bytes) -> bool:
        """Whether `data` is what the file should hold."""
        return hashlib.sha256(data).hexdigest() == self.sha256

    def store(self, data: bytes) -> Path:
        """Put `data` into the cache, whole or not at all; return where.

        Raises `ProtocolError` if it is not what the file should hold, and
        `ConfigurationError` if the cache is disabled or can't be written.
        """
        if not self.is_right(data):
            raise ProtocolError(f"what came is not {self.path}: its SHA-256 is another")
        folder = cache_folder()
        if folder is None:
            raise ConfigurationError("tiktoken's cache is disabled: TIKTOKEN_CACHE_DIR or DATA_GYM_CACHE_DIR is empty")
        place = folder / self.cache_name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as unfinished:
                unfinished.write(data)
            Path(unfinished.name).replace(place)
        except OSError as error:
            raise ConfigurationError(f"cannot write {place}: {error.strerror}") from error
        return place


_R50K = VocabularyFile(
    "/encodings/r50k_base.tiktoken", "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
)
_P50K = VocabularyFile(
    "/encodings/p50k_base.tiktoken", "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"
)
_CL100K = VocabularyFile(
    "/encodings/cl100k_base.tiktoken", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
)
_O200K = VocabularyFile(
    "/encodings/o200k_base.tiktoken", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
)

FILES: dict[str, tuple[VocabularyFile, ...]] = {
    "gpt2": (
        VocabularyFile(
            "/gpt-2/encodings/main/vocab.bpe", "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
        ),
        VocabularyFile(
            "/gpt-2/encodings/main/encoder.json", "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"
        ),
    ),
    "r50k_base": (_R50K,),
    "p50k_base": (_P50K,),
    "p50k_edit": (_P50K,),
    "cl100k_base": (_CL100K,),
    "o200k_base": (_O200K,),
    "o200k_harmony": (_O200K,),
}
"""The files of each encoding."""

PROVIDERS = {"openai": "o200k_base", "azure": "o200k_base"}
"""The likeliest encoding for a model that nobody knows, by the first word of its provider.

The other services publish no vocabulary that tiktoken could read.
"""


def cache_folder() -> Path | None:
    """Return where tiktoken keeps its files; `None` if its cache is disabled."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if (folder := os.environ.get(variable)) is not None:
            return Path(folder) if folder else None
    return Path(tempfile.gettempdir()) / "data-gym-cache"


def files_of(name: str) -> tuple[VocabularyFile, ...]:
    """Return the files of the encoding `name`; raise `ConfigurationError` for a name that there is not."""
    try:
        return FILES[name]
    except KeyError:
        raise ConfigurationError(f"there is no encoding {name!r}; known are {', '.join(FILES)}") from None


def encoding_name(model: str) -> str | None:
    """Return the name of the encoding of `model`, by tiktoken's tables; `None` if it is in none of them.

    The name of an encoding is its own. What stands before a colon or a slash is taken
    for a provider if the whole is not a model: `openai:gpt-5`, `openai/gpt-5`.
    """
    from tiktoken.model import encoding_name_for_model

    if model in FILES:
        return model
    for candidate in (model, model.rpartition("/")[2], model.partition(":")[2]):
        try:
            return encoding_name_for_model(candidate)
        except KeyError:
            continue
    return None


def find_encoding(name: str) -> Encoding | None:
    """Return the encoding `name`, or `None` if it is not on this machine.

    The first time for a name takes up to about a second: call it where nothing waits,
    or as `await asyncio.to_thread(find_encoding, name)`. Raises `ConfigurationError`
    for a name that there is not.
    """
    files = files_of(name)
    import tiktoken
    from tiktoken.registry import ENCODINGS

    if name in ENCODINGS:  # loaded before, by whomever
        return ENCODINGS[name]
    if not all(file.is_cached for file in files):
        return None
    if name not in tiktoken.list_encoding_names():  # an older tiktoken than the encoding
        return None
    return tiktoken.get_encoding(name)
