"""`TokenDecoder`: ids to text, however they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.errors import ConfigurationError, ProtocolError
from rxstream.tokenizer import DecoderStatistics, TokenDecoder
from tests.tokenizer.encodings import BYTES, SMALL, real

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(TEXTS, st.integers(1, 5))
def test_there_and_back_again_in_batches_of_any_size(text: str, size: int) -> None:
    decoder = TokenDecoder(BYTES)
    ids = decoder.encode(text)

    batched = [piece for start in range(0, len(ids), size) for piece in decoder.feed(ids[start : start + size])]

    assert "".join(batched + decoder.flush()) == text
    assert "�" not in text or decoder.statistics.characters == len(text)
    assert decoder.statistics == DecoderStatistics(len(ids), len(text.encode()), len(text), 0)


@given(st.lists(st.integers(0, 269), max_size=20))
def test_any_ids_give_the_text_of_all_their_bytes(ids: list[int]) -> None:
    decoder = TokenDecoder(SMALL)

    text = "".join([piece for token_id in ids for piece in decoder.feed(token_id)] + decoder.flush())

    assert text == SMALL.decode(ids)


def test_a_split_character_waits_for_its_last_byte() -> None:
    decoder = TokenDecoder(BYTES)
    first, *rest = decoder.encode("😀")

    assert decoder.feed([first, *rest[:2]]) == []
    assert decoder.statistics.pending_bytes == 3
    assert decoder.feed(rest[2]) == ["😀"]


def test_half_a_character_at_the_end_becomes_a_replacement() -> None:
    decoder = TokenDecoder(BYTES)

    decoder.feed("é".encode()[0])

    assert decoder.flush() == ["�"]


@pytest.mark.parametrize("unknown", [271, -1, 2**40, "7", None])
def test_an_unknown_id_is_a_protocol_error_after_the_text_before_it(unknown: int) -> None:
    decoder = TokenDecoder(SMALL)

    with pytest.raises(ProtocolError, match="has no token id") as caught:
        decoder.feed([*b"ok", unknown, *b"lost"])

    assert "".join(caught.value.completed) == "ok"


@pytest.mark.parametrize("unknown", [271, -1, 2**40])
def test_one_unknown_id_is_a_protocol_error(unknown: int) -> None:
    with pytest.raises(ProtocolError, match="has no token id"):
        TokenDecoder(SMALL).feed(unknown)


def test_a_name_that_there_is_not_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="no encoding or model"):
        TokenDecoder("nonsense")


@given(text=TEXTS)
def test_a_real_vocabulary_goes_there_and_back_again(text: str) -> None:
    decoder = TokenDecoder(real("o200k_base"))

    pieces = [piece for token_id in decoder.encode(text) for piece in decoder.feed(token_id)]

    assert "".join(pieces + decoder.flush()) == text
