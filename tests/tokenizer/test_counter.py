"""`TokenCounter`: the count of the whole, wherever it is cut."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import tiktoken
from hypothesis import example, given
from hypothesis import strategies as st

from rxstream.tokenizer import TokenCounter, Vocabulary
from rxstream.tokenizer.counter import BLOCK
from rxstream.tokenizer.encodings import Encoding
from tests.tokenizer.encodings import BYTES, SMALL, SMALL_O200K, SMALL_R50K, real

TRICKY = st.text(
    alphabet=" \n\r\t'sSlrevdmtThing019_.,!?/-=()é中。、語\u0301\u3000\xa0²٣\u017f\uff1a\x1c\ud83d\ude00😀", max_size=40
)
FRAGMENTS = ["th", "e", "ing", "'s", " ", "  ", "\n", ".", "..", "_", "(", "1", "12", "é", "\u0301", "/", "S", "\t"]
JOINED = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
TEXTS = JOINED | TRICKY | st.text(st.characters(), max_size=40)
ENCODINGS: dict[str, Callable[[], Encoding]] = {
    "small": lambda: SMALL,
    "cl100k_base": lambda: real("cl100k_base"),
    "o200k_base": lambda: real("o200k_base"),
    "small, split as r50k_base": lambda: SMALL_R50K,
    "small, split as o200k_base": lambda: SMALL_O200K,
}


def counter(encoding: Encoding = SMALL) -> TokenCounter:
    return TokenCounter(encoding, splits_as_known=True)


@pytest.mark.parametrize("make", ENCODINGS.values(), ids=list(ENCODINGS))
def test_cut_anywhere_and_read_anywhere_the_count_is_that_of_the_whole(make: Callable[[], Encoding]) -> None:
    encoding = make()

    @given(text=TEXTS, data=st.data())
    def law(text: str, data: st.DataObject) -> None:
        cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12).map(sorted))
        counting = counter(encoding)

        for start, end in pairwise([0, *cuts, len(text)]):
            counting.feed(text[start:end])
            if data.draw(st.booleans()):
                assert counting.count == len(encoding.encode_ordinary(text[:end]))

        assert counting.count == len(encoding.encode_ordinary(text)) <= counting.most
        assert counting.is_exact

    law()


@given(TEXTS, st.integers(0, 12), st.integers(0, 40), st.sampled_from([SMALL, BYTES, None]))
@example("\ud83d0", 1, 0, None)
def test_what_fits_keeps_the_limit_and_is_a_beginning(
    text: str, limit: int, cut: int, encoding: Encoding | None
) -> None:
    counting = TokenCounter(Vocabulary(None, encoding, is_exact=True))
    counting.feed(text[:cut])
    before = counting.count

    fits = counting.fitting(text[cut:], limit)
    counting.feed(fits)

    assert text[cut:].startswith(fits)
    assert counting.count <= max(limit, before)


def test_what_fits_is_counted_as_what_it_then_is() -> None:
    """The beginning of a text may be more tokens than the whole has up to there."""
    ranks = {bytes([n]): n for n in range(256)} | {b"bc": 256, b"ab": 257, b"cd": 258}
    fickle = tiktoken.Encoding(
        "fickle", pat_str=r"ab(?=cd!)|cd(?=!)|[a-d]+|!", mergeable_ranks=ranks, special_tokens={}
    )
    assert len(fickle.encode_ordinary("abcd!")) == len(fickle.encode_ordinary("abcd")) == 3

    assert counter(fickle).fitting("abcd!", 2) == "ab"


@given(st.lists(TEXTS, max_size=5))
def test_an_estimate_is_a_quarter_of_the_bytes_however_cut(pieces: list[str]) -> None:
    counting = TokenCounter()

    for piece in pieces:
        counting.feed(piece)

    size = sum(len(piece.encode(errors="surrogatepass")) for piece in pieces)
    assert counting.count == (size + 3) // 4
    assert not counting.is_exact


def test_a_long_text_is_settled_on_its_way_and_stays_exact() -> None:
    text = "The thing is in the (thing). " * 2_000
    counting = counter()

    for start in range(0, len(text), 7):
        counting.feed(text[start : start + 7])

    assert counting.most - counting.count < BLOCK  # what was settled is counted, and only the rest guessed at
    assert counting.count == len(SMALL.encode_ordinary(text))
    assert counting.is_exact


@pytest.mark.parametrize("run", ["a", "=", "0", " ", "\n", "ก", "the", "-="])
def test_a_stretch_without_a_place_to_settle_is_cut_and_no_longer_called_exact(run: str) -> None:
    text = (run * 20_000)[:20_000]
    counting = counter()

    counting.feed(text)

    assert not counting.is_exact
    assert abs(counting.count - len(SMALL.encode_ordinary(text))) <= 4 * len(text) // BLOCK


def test_a_million_spaces_are_no_trouble() -> None:
    counting = counter(BYTES)

    counting.feed(" " * 1_000_000)

    assert counting.count == 1_000_000


def test_an_encoding_that_nobody_knows_is_not_called_exact() -> None:
    counting = TokenCounter(SMALL)

    assert not counting.is_exact


def test_adding_the_counts_of_deltas_would_be_too_many() -> None:
    counting = counter()

    counting.feed("th")
    counting.feed("e")

    assert counting.count == 1
