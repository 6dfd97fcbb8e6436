"""Which encoding a model uses, and that nothing is ever downloaded for it."""

import hashlib
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load
import tiktoken.registry

from rxstream.errors import ConfigurationError, ProtocolError
from rxstream.tokenizer import (
    FILES,
    ORIGIN,
    EstimateWarning,
    TokenCounter,
    TokenDecoder,
    VocabularyFile,
    cache_folder,
    encoding_name,
    files_of,
    find_encoding,
    vocabulary,
)
from tests.tokenizer.encodings import SMALL

FACTS = Path(tiktoken.load.__file__).parent.parent / "tiktoken_ext" / "openai_public.py"


def refuse(path: str) -> bytes:
    pytest.fail(f"tiktoken was about to download {path}")


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded and nothing was warned of, before and after; a download fails the test."""
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setattr(tiktoken.load, "read_file", refuse)
    monkeypatch.setattr(sys.modules["rxstream.tokenizer.vocabulary"], "_warned", set[str]())


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_the_files_are_those_that_tiktoken_reads() -> None:
    source = FACTS.read_text()

    assert set(FILES) == set(tiktoken.list_encoding_names())
    for file in {file for files in FILES.values() for file in files}:
        assert f"{ORIGIN}{file.path}" in source
        assert file.sha256 in source


def test_files_are_named_in_the_cache_as_tiktoken_names_them() -> None:
    names = {name: files_of(name)[0].cache_name for name in ("o200k_base", "cl100k_base")}

    assert names["o200k_base"].startswith("fb374d41")
    assert names["cl100k_base"].startswith("9b5ad71b")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-5", "o200k_base"),
        ("gpt-4o-2024-05-13", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-oss-20b", "o200k_harmony"),
        ("openai:gpt-5", "o200k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("ft:gpt-4:mine", "cl100k_base"),
        ("text-davinci-edit-001", "p50k_edit"),
        ("p50k_base", "p50k_base"),
        ("claude-opus", None),
        ("", None),
    ],
)
def test_a_model_has_the_encoding_of_tiktokens_tables(model: str, name: str | None) -> None:
    assert encoding_name(model) == name


def test_the_cache_is_where_tiktoken_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    assert cache_folder() == Path(tempfile.gettempdir()) / "data-gym-cache"

    monkeypatch.setenv("DATA_GYM_CACHE_DIR", "second")
    assert cache_folder() == Path("second")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    assert cache_folder() is None


@pytest.mark.parametrize("name", FILES)
def test_an_encoding_that_is_not_there_is_not_downloaded(name: str, cache: Path) -> None:
    assert find_encoding(name) is None


def test_a_wrong_file_is_left_alone_and_not_downloaded(cache: Path) -> None:
    wrong = cache / files_of("o200k_base")[0].cache_name
    wrong.write_bytes(b"wrong")

    assert find_encoding("o200k_base") is None
    assert wrong.read_bytes() == b"wrong"


def test_a_disabled_cache_has_nothing_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")

    assert find_encoding("o200k_base") is None


def test_half_of_the_files_are_not_enough(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, missing = VocabularyFile("/here", hashlib.sha256(b"x").hexdigest()), VocabularyFile("/missing", "")
    monkeypatch.setitem(FILES, "gpt2", (here, missing))
    here.store(b"x")

    assert here.is_cached
    assert find_encoding("gpt2") is None


def test_an_encoding_that_somebody_loaded_is_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "o200k_base", SMALL)

    assert find_encoding("o200k_base") is SMALL
    assert vocabulary(model="gpt-5").is_exact
    assert not vocabulary(provider="openai.chat").is_exact


def test_an_encoding_in_the_cache_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    file = files_of("cl100k_base")[0]
    if not file.is_cached:
        pytest.skip("cl100k_base is not in tiktoken's cache; `rxstream tokens fetch cl100k_base` puts it there")

    found = find_encoding("cl100k_base")

    assert found is not None
    assert found.encode_ordinary("hello world") == [15339, 1917]


def test_an_unknown_encoding_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="known are gpt2"):
        find_encoding("nonsense")
    with pytest.raises(ConfigurationError):
        vocabulary("nonsense")


def test_a_missing_encoding_warns_once_and_counts_are_estimates(cache: Path) -> None:
    with pytest.warns(EstimateWarning, match="rxstream tokens fetch o200k_base"):
        counter = TokenCounter("o200k_base")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vocabulary(model="gpt-5")

    counter.feed("twelve bytes")

    assert counter.count == 3
    assert not counter.is_exact
    assert counter.vocabulary.name == "o200k_base"


def test_a_service_without_a_public_vocabulary_is_estimated_without_a_word() -> None:
    assert vocabulary(model="claude-opus", provider="anthropic.messages").encoding is None


def test_ids_cannot_be_estimated(cache: Path) -> None:
    with pytest.raises(ConfigurationError, match="rxstream tokens fetch o200k_base"):
        TokenDecoder("gpt-5")


def test_only_the_right_bytes_are_stored(cache: Path) -> None:
    with pytest.raises(ProtocolError, match="SHA-256"):
        files_of("o200k_base")[0].store(b"wrong")

    assert list(cache.iterdir()) == []


def test_a_disabled_cache_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")

    with pytest.raises(ConfigurationError, match="disabled"):
        VocabularyFile("/x", hashlib.sha256(b"x").hexdigest()).store(b"x")


def test_importing_rxstream_does_not_import_tiktoken() -> None:
    program = "import sys, rxstream, rxstream.operators, rxstream.tokenizer; sys.exit('tiktoken' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
